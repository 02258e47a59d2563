/* Multi-instance GPUs: slices of a board, each with a handle and a UUID of its own. */
#include "double.h"

#include <string.h>

typedef struct {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    unsigned long long memory_mb;
} attributes_t;

#define OPEN() gpu_t *gpu; mig_t *mig; int code = open_device(device, &gpu, &mig); if (code != OK) return code

API int nvmlDeviceGetMigMode(device_t device, unsigned *current, unsigned *pending) {
    OPEN();
    if (!gpu->mig_slices_total) return NOT_SUPPORTED; /* boards that cannot be sliced */
    *current = *pending = (unsigned)gpu->mig_mode;
    return OK;
}
API int nvmlDeviceIsMigDeviceHandle(device_t device, unsigned *is_mig) { OPEN(); return *is_mig = mig != NULL, OK; }
API int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned *count) { OPEN(); return *count = gpu->mig_slices_total, OK; }

API int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *slice) {
    OPEN();
    if (!gpu->mig_mode) return NOT_SUPPORTED;
    if (index >= gpu->mig_slices_total) return INVALID_ARGUMENT;
    if (index >= (unsigned)gpu->migs) return NOT_FOUND;
    *slice = handle_of((int)(gpu - scene.gpu), generation_of(gpu, now_ns()), (int)index + 1);
    return OK;
}
API int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t device, device_t *board) {
    OPEN();
    if (!mig) return INVALID_ARGUMENT;
    *board = handle_of((int)(gpu - scene.gpu), generation_of(gpu, now_ns()), 0);
    return OK;
}
API int nvmlDeviceGetGpuInstanceId(device_t device, unsigned *id) { OPEN(); return mig ? (*id = mig->gpu_instance, OK) : NOT_SUPPORTED; }
API int nvmlDeviceGetComputeInstanceId(device_t device, unsigned *id) { OPEN(); return mig ? (*id = mig->compute_instance, OK) : NOT_SUPPORTED; }

API int nvmlDeviceGetAttributes_v2(device_t device, attributes_t *row) {
    OPEN();
    if (!mig) return NOT_SUPPORTED;
    memset(row, 0, sizeof *row);
    row->multiprocessors = mig->multiprocessors;
    row->gpu_slices = row->compute_slices = mig->slices;
    row->memory_mb = mig->memory_mb;
    return OK;
}
