/* Initialisation, enumeration and identity. A handle carries its device's generation, so that one from before a reset is lost. */
#include "double.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int initialised;

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_t;

const interval_t *interval_at(const intervals_t *list, int64_t t_ns) {
    for (int i = 0; i < list->count; i++)
        if (t_ns >= list->at[i].from_ns && t_ns < list->at[i].until_ns) return &list->at[i];
    return NULL;
}

int is_present(const gpu_t *gpu, int64_t t_ns) { return !interval_at(&gpu->absent, t_ns); }

int generation_of(const gpu_t *gpu, int64_t t_ns) {
    int generation = 0;
    for (int i = 0; i < gpu->resets.count; i++) generation += gpu->resets.at[i].from_ns <= t_ns;
    for (int i = 0; i < gpu->absent.count; i++) generation += gpu->absent.at[i].until_ns <= t_ns;
    return generation;
}

device_t handle_of(int gpu, int generation, int mig) { /* mig: 0 is the board, n its nth slice */
    return (device_t)(((uintptr_t)(gpu + 1) << 24) | ((uintptr_t)(generation % MAX_GENERATIONS) << 8) | (uintptr_t)mig);
}

int open_device(device_t device, gpu_t **gpu, mig_t **mig) {
    uintptr_t bits = (uintptr_t)device;
    int index = (int)(bits >> 24) - 1, generation = (int)(bits >> 8) & 0xFFFF, slice = (int)(bits & 0xFF);
    spend_latency();
    if (!initialised) return UNINITIALIZED;
    if (index < 0 || index >= scene.gpus || slice > scene.gpu[index].migs) return INVALID_ARGUMENT;
    int64_t t_ns = now_ns();
    *gpu = &scene.gpu[index];
    if (mig) *mig = slice ? &(*gpu)->mig[slice - 1] : NULL;
    if (!is_present(*gpu, t_ns) || generation != generation_of(*gpu, t_ns) % MAX_GENERATIONS) return GPU_IS_LOST;
    return scene.permission == PERMISSION_NONE ? NO_PERMISSION : OK;
}

API int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!initialised) {
        int code = scene_load(getenv("TPB_NVML_SCENE"));
        if (code != OK) return code;
    }
    initialised++;
    return OK;
}
API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlInit(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return OK;
}

API const char *nvmlErrorString(int code) {
    switch (code) {
        case OK: return "Success";
        case UNINITIALIZED: return "Uninitialized";
        case INVALID_ARGUMENT: return "Invalid Argument";
        case NOT_SUPPORTED: return "Not Supported";
        case NO_PERMISSION: return "Insufficient Permissions";
        case NOT_FOUND: return "Not Found";
        case INSUFFICIENT_SIZE: return "Insufficient Size";
        case DRIVER_NOT_LOADED: return "Driver Not Loaded";
        case GPU_IS_LOST: return "GPU is lost";
        default: return "Unknown Error";
    }
}

static int text(char *to, unsigned room, const char *from) {
    if (strlen(from) + 1 > room) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return OK;
}

API int nvmlSystemGetDriverVersion(char *to, unsigned room) { return initialised ? text(to, room, scene.driver) : UNINITIALIZED; }
API int nvmlSystemGetNVMLVersion(char *to, unsigned room) { return initialised ? text(to, room, "13.999.99-double") : UNINITIALIZED; }
API int nvmlSystemGetCudaDriverVersion_v2(int *version) { return *version = 13000, initialised ? OK : UNINITIALIZED; }
API int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

API int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!initialised) return UNINITIALIZED;
    *count = 0;
    int64_t t_ns = now_ns();
    for (int i = 0; i < scene.gpus; i++) *count += (unsigned)is_present(&scene.gpu[i], t_ns);
    return OK;
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
    if (!initialised) return UNINITIALIZED;
    int64_t t_ns = now_ns();
    for (int i = 0; i < scene.gpus; i++) {
        if (!is_present(&scene.gpu[i], t_ns)) continue;
        if (index-- == 0) return *device = handle_of(i, generation_of(&scene.gpu[i], t_ns), 0), OK;
    }
    return INVALID_ARGUMENT;
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device) {
    if (!initialised) return UNINITIALIZED;
    int64_t t_ns = now_ns();
    for (int i = 0; i < scene.gpus; i++) {
        gpu_t *gpu = &scene.gpu[i];
        if (!is_present(gpu, t_ns)) continue;
        if (!strcmp(gpu->uuid, uuid)) return *device = handle_of(i, generation_of(gpu, t_ns), 0), OK;
        for (int m = 0; m < gpu->migs; m++)
            if (!strcmp(gpu->mig[m].uuid, uuid)) return *device = handle_of(i, generation_of(gpu, t_ns), m + 1), OK;
    }
    return NOT_FOUND;
}

API int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, device_t *device) {
    for (int i = 0; initialised && i < scene.gpus; i++)
        if (!strcmp(scene.gpu[i].pci, pci)) return *device = handle_of(i, generation_of(&scene.gpu[i], now_ns()), 0), OK;
    return initialised ? NOT_FOUND : UNINITIALIZED;
}

#define OPEN(mig) gpu_t *gpu; int code = open_device(device, &gpu, mig); if (code != OK) return code

API int nvmlDeviceGetUUID(device_t device, char *to, unsigned room) {
    mig_t *mig;
    OPEN(&mig);
    return text(to, room, mig ? mig->uuid : gpu->uuid);
}
API int nvmlDeviceGetName(device_t device, char *to, unsigned room) { OPEN(NULL); return text(to, room, gpu->name); }
API int nvmlDeviceGetSerial(device_t device, char *to, unsigned room) {
    OPEN(NULL);
    return *gpu->serial ? text(to, room, gpu->serial) : NOT_SUPPORTED;
}
API int nvmlDeviceGetArchitecture(device_t device, unsigned *value) { OPEN(NULL); return *value = gpu->architecture, OK; }
API int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor) {
    OPEN(NULL);
    *major = (int)gpu->cuda_major, *minor = (int)gpu->cuda_minor;
    return OK;
}
API int nvmlDeviceGetIndex(device_t device, unsigned *index) {
    OPEN(NULL);
    *index = 0;
    for (gpu_t *other = scene.gpu; other < gpu; other++) *index += (unsigned)is_present(other, now_ns());
    return OK;
}
API int nvmlDeviceGetPciInfo_v3(device_t device, pci_t *pci) {
    OPEN(NULL);
    memset(pci, 0, sizeof *pci);
    sscanf(gpu->pci, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%s", gpu->pci);
    snprintf(pci->legacy, sizeof pci->legacy, "%04X:%02X:%02X.0", pci->domain & 0xFFFF, pci->bus & 0xFF, pci->device & 0xFF);
    return OK;
}
