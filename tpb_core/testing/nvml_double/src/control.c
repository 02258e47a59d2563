/* Power limits and clock locks. What was set outlives the process, as it does in a driver: one small file a device in the state folder,
   and every change appended to `changes.log`. */
#include "double.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned limit_mw, low_mhz, high_mhz; } settings_t;

static settings_t settings_of(const gpu_t *gpu) {
    settings_t settings = {gpu->limit_default_mw, 0, 0};
    char path[700];
    snprintf(path, sizeof path, "%s/%s.settings", scene.state, gpu->uuid);
    FILE *file = *scene.state ? fopen(path, "r") : NULL;
    if (!file) return settings;
    settings_t found;
    if (fscanf(file, "%u %u %u", &found.limit_mw, &found.low_mhz, &found.high_mhz) == 3) settings = found;
    fclose(file);
    return settings;
}

static int settings_write(const gpu_t *gpu, settings_t settings, const char *what) {
    char path[700], next[800];
    if (!*scene.state) return NOT_SUPPORTED;
    snprintf(path, sizeof path, "%s/%s.settings", scene.state, gpu->uuid);
    snprintf(next, sizeof next, "%s.%d", path, (int)getpid());
    FILE *file = fopen(next, "w");
    if (!file) return UNKNOWN_ERROR;
    fprintf(file, "%u %u %u\n", settings.limit_mw, settings.low_mhz, settings.high_mhz);
    fclose(file);
    if (rename(next, path)) return UNKNOWN_ERROR;
    snprintf(path, sizeof path, "%s/changes.log", scene.state);
    file = fopen(path, "a");
    if (!file) return UNKNOWN_ERROR;
    fprintf(file, "%d %s %s %u %u %u\n", (int)getpid(), gpu->uuid, what, settings.limit_mw, settings.low_mhz, settings.high_mhz);
    fclose(file);
    return OK;
}

unsigned state_power_limit_mw(const gpu_t *gpu) { return settings_of(gpu).limit_mw; }

void state_locked_clocks(const gpu_t *gpu, unsigned *low_mhz, unsigned *high_mhz) {
    settings_t settings = settings_of(gpu);
    *low_mhz = settings.low_mhz, *high_mhz = settings.high_mhz;
}

#define OPEN() gpu_t *gpu; int code = open_device(device, &gpu, NULL); if (code != OK) return code
#define OPEN_TO_SET() OPEN(); if (scene.permission != PERMISSION_FULL) return NO_PERMISSION; settings_t settings = settings_of(gpu)

API int nvmlDeviceGetPowerManagementLimit(device_t device, unsigned *mw) {
    OPEN();
    return gpu->limit_max_mw ? (*mw = state_power_limit_mw(gpu), OK) : NOT_SUPPORTED;
}
API int nvmlDeviceGetEnforcedPowerLimit(device_t device, unsigned *mw) { return nvmlDeviceGetPowerManagementLimit(device, mw); }
API int nvmlDeviceGetPowerManagementDefaultLimit(device_t device, unsigned *mw) {
    OPEN();
    return gpu->limit_max_mw ? (*mw = gpu->limit_default_mw, OK) : NOT_SUPPORTED;
}
API int nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *low_mw, unsigned *high_mw) {
    OPEN();
    *low_mw = gpu->limit_min_mw, *high_mw = gpu->limit_max_mw;
    return gpu->limit_max_mw ? OK : NOT_SUPPORTED;
}
API int nvmlDeviceSetPowerManagementLimit(device_t device, unsigned mw) {
    OPEN_TO_SET();
    if (!gpu->limit_max_mw) return NOT_SUPPORTED;
    if (mw < gpu->limit_min_mw || mw > gpu->limit_max_mw) return INVALID_ARGUMENT;
    settings.limit_mw = mw;
    return settings_write(gpu, settings, "power_limit");
}
API int nvmlDeviceSetGpuLockedClocks(device_t device, unsigned low_mhz, unsigned high_mhz) {
    OPEN_TO_SET();
    if (low_mhz > high_mhz) return INVALID_ARGUMENT;
    settings.low_mhz = low_mhz, settings.high_mhz = high_mhz;
    return settings_write(gpu, settings, "lock_clocks");
}
API int nvmlDeviceResetGpuLockedClocks(device_t device) {
    OPEN_TO_SET();
    settings.low_mhz = settings.high_mhz = 0;
    return settings_write(gpu, settings, "unlock_clocks");
}
