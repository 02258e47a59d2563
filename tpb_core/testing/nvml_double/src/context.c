/* Temperature, clocks, throttle reasons, utilisation, memory and processes. */
#include "double.h"

#include <string.h>

typedef struct { unsigned gpu, memory; } utilisation_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned version, sensor; int temperature; } temperature_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;

#define OPEN() gpu_t *gpu; mig_t *mig; int code = open_device(device, &gpu, &mig); if (code != OK) return code

API int nvmlDeviceGetTemperature(device_t device, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    OPEN();
    return *celsius = gpu->temperature_c, OK;
}
API int nvmlDeviceGetTemperatureV(device_t device, temperature_t *row) { OPEN(); return row->temperature = (int)gpu->temperature_c, OK; }

static unsigned clock_mhz(const gpu_t *gpu, unsigned type) {
    unsigned low, high, mhz = type == 2 ? gpu->mem_mhz : gpu->sm_mhz;
    state_locked_clocks(gpu, &low, &high);
    if (type == 2 || !high) return mhz;
    return mhz < low ? low : mhz > high ? high : mhz;
}
API int nvmlDeviceGetClockInfo(device_t device, unsigned type, unsigned *mhz) { OPEN(); return *mhz = clock_mhz(gpu, type), OK; }
API int nvmlDeviceGetMaxClockInfo(device_t device, unsigned type, unsigned *mhz) {
    OPEN();
    return *mhz = type == 2 ? gpu->mem_mhz : gpu->sm_mhz, OK;
}
API int nvmlDeviceGetCurrentClocksEventReasons(device_t device, unsigned long long *reasons) { OPEN(); return *reasons = gpu->reasons, OK; }
API int nvmlDeviceGetCurrentClocksThrottleReasons(device_t device, unsigned long long *reasons) {
    return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}

API int nvmlDeviceGetUtilizationRates(device_t device, utilisation_t *row) {
    OPEN();
    if (mig || gpu->mig_mode) return NOT_SUPPORTED;
    row->gpu = gpu->utilisation, row->memory = gpu->memory_utilisation;
    return OK;
}
API int nvmlDeviceGetMemoryInfo(device_t device, memory_t *row) {
    OPEN();
    row->total = gpu->memory_total, row->used = gpu->memory_total / 4, row->free = row->total - row->used;
    return OK;
}
API int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_v2_t *row) {
    OPEN();
    row->total = gpu->memory_total, row->used = gpu->memory_total / 4, row->free = row->total - row->used, row->reserved = 0;
    return OK;
}
API int nvmlDeviceGetPersistenceMode(device_t device, unsigned *mode) { OPEN(); return *mode = 1, OK; }
API int nvmlDeviceGetComputeMode(device_t device, unsigned *mode) { OPEN(); return *mode = 0, OK; }

API int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *room, process_t *rows) {
    OPEN();
    int64_t t_ns = now_ns();
    unsigned count = 0;
    for (int i = 0; i < gpu->processes.count; i++) {
        const interval_t *process = &gpu->processes.at[i];
        if (t_ns < process->from_ns || t_ns >= process->until_ns) continue;
        if (rows && count < *room) rows[count] = (process_t){(unsigned)process->a, (unsigned long long)process->b, ~0U, ~0U};
        count++;
    }
    int short_of_room = count > *room;
    *room = count;
    return short_of_room ? INSUFFICIENT_SIZE : OK;
}
API int nvmlDeviceGetComputeRunningProcesses_v2(device_t device, unsigned *room, process_t *rows) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, room, rows);
}
API int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t device, unsigned *room, process_t *rows) {
    (void)rows;
    OPEN();
    return *room = 0, OK;
}
API int nvmlDeviceGetGraphicsRunningProcesses_v2(device_t device, unsigned *room, process_t *rows) {
    return nvmlDeviceGetGraphicsRunningProcesses_v3(device, room, rows);
}
