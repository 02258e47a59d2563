/* Reads the scene: a text file of `key value` lines; `gpu` begins a device. Named by the environment variable TPB_NVML_SCENE. */
#include "double.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

scene_t scene;

static void copy(char *to, size_t room, const char *from) { snprintf(to, room, "%s", from); }

static void map_clock(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return;
    void *page = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) scene.virtual_clock = page;
}

static void add_point(trace_t *trace, int64_t t_ns, int64_t mw) {
    if (trace->count == trace->room) {
        trace->room = trace->room ? trace->room * 2 : 64;
        trace->t_ns = realloc(trace->t_ns, sizeof(int64_t) * (size_t)trace->room);
        trace->mw = realloc(trace->mw, sizeof(int64_t) * (size_t)trace->room);
        trace->energy_pj = realloc(trace->energy_pj, sizeof(long double) * (size_t)trace->room);
    }
    int i = trace->count++;
    trace->t_ns[i] = t_ns;
    trace->mw[i] = mw;
    trace->energy_pj[i] = i == 0 ? (long double)mw * t_ns : trace->energy_pj[i - 1] + (long double)trace->mw[i - 1] * (t_ns - trace->t_ns[i - 1]);
}

static void add_interval(intervals_t *list, const char *value) {
    interval_t row = {0, INT64_MAX, 0, 0};
    if (list->count < MAX_INTERVALS && sscanf(value, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64, &row.from_ns, &row.until_ns, &row.a, &row.b) >= 1)
        list->at[list->count++] = row;
}

static void add_mig(gpu_t *gpu, const char *value) {
    mig_t *mig = &gpu->mig[gpu->migs];
    if (gpu->migs < MAX_MIG && sscanf(value, "%95s %u %u %u %u %" SCNu64, mig->uuid, &mig->gpu_instance, &mig->compute_instance, &mig->slices,
                                      &mig->multiprocessors, &mig->memory_mb) == 6)
        gpu->migs++;
}

static int number(gpu_t *gpu, const char *key, const char *value) {
    struct { const char *key; int64_t *to; } wide[] = {
        {"window_ns", &gpu->window_ns}, {"refresh_ns", &gpu->refresh_ns}, {"phase_ns", &gpu->phase_ns}, {"delay_ns", &gpu->delay_ns},
        {"average_window_ns", &gpu->average_window_ns}, {"average_refresh_ns", &gpu->average_refresh_ns},
        {"counter_refresh_ns", &gpu->counter_refresh_ns}, {"counter_phase_ns", &gpu->counter_phase_ns},
        {"counter_base_mj", &gpu->counter_base_mj}, {"noise_mw", &gpu->noise_mw}, {"quantum_mw", &gpu->quantum_mw},
    };
    struct { const char *key; unsigned *to; } narrow[] = {
        {"architecture", &gpu->architecture}, {"cuda_major", &gpu->cuda_major}, {"cuda_minor", &gpu->cuda_minor},
        {"multiprocessors", &gpu->multiprocessors}, {"limit_min_mw", &gpu->limit_min_mw}, {"limit_max_mw", &gpu->limit_max_mw},
        {"limit_default_mw", &gpu->limit_default_mw}, {"temperature_c", &gpu->temperature_c}, {"sm_mhz", &gpu->sm_mhz},
        {"mem_mhz", &gpu->mem_mhz}, {"utilisation", &gpu->utilisation}, {"memory_utilisation", &gpu->memory_utilisation},
        {"mig_slices_total", &gpu->mig_slices_total},
    };
    struct { const char *key; int *to; } flag[] = {
        {"power_usage_is_average", &gpu->power_usage_is_average}, {"stamp_is_refresh", &gpu->stamp_is_refresh},
        {"counter_from_samples", &gpu->counter_from_samples}, {"counter_scope", &gpu->counter_scope},
        {"zero_every", &gpu->zero_every}, {"mig_mode", &gpu->mig_mode},
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (!strcmp(key, wide[i].key)) return *wide[i].to = strtoll(value, NULL, 10), 1;
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        if (!strcmp(key, narrow[i].key)) return *narrow[i].to = (unsigned)strtoul(value, NULL, 10), 1;
    for (size_t i = 0; i < sizeof flag / sizeof *flag; i++)
        if (!strcmp(key, flag[i].key)) return *flag[i].to = atoi(value), 1;
    if (!strcmp(key, "gain")) return gpu->gain = strtod(value, NULL), 1;
    if (!strcmp(key, "offset_mw")) return gpu->offset_mw = strtod(value, NULL), 1;
    if (!strcmp(key, "reasons")) return gpu->reasons = strtoull(value, NULL, 10), 1;
    if (!strcmp(key, "memory_total")) return gpu->memory_total = strtoull(value, NULL, 10), 1;
    return 0;
}

static int device_line(gpu_t *gpu, const char *key, const char *value) {
    static const char *traces[TRACES] = {"gpu", "module", "memory"};
    char which[16];
    int64_t a, b;
    if (number(gpu, key, value)) return OK;
    if (!strcmp(key, "uuid")) return copy(gpu->uuid, sizeof gpu->uuid, value), OK;
    if (!strcmp(key, "name")) return copy(gpu->name, sizeof gpu->name, value), OK;
    if (!strcmp(key, "pci")) return copy(gpu->pci, sizeof gpu->pci, value), OK;
    if (!strcmp(key, "serial")) return copy(gpu->serial, sizeof gpu->serial, value), OK;
    if (!strcmp(key, "absent")) return add_interval(&gpu->absent, value), OK;
    if (!strcmp(key, "reset")) return add_interval(&gpu->resets, value), OK;
    if (!strcmp(key, "zero")) return add_interval(&gpu->zeros, value), OK;
    if (!strcmp(key, "failure")) return add_interval(&gpu->failures, value), OK;
    if (!strcmp(key, "process")) return add_interval(&gpu->processes, value), OK;
    if (!strcmp(key, "mig")) return add_mig(gpu, value), OK;
    if (!strcmp(key, "unsupported") && gpu->unsupported < MAX_UNSUPPORTED) {
        int n = gpu->unsupported++;
        gpu->unsupported_scope[n] = -1;
        sscanf(value, "%u %d", &gpu->unsupported_field[n], &gpu->unsupported_scope[n]);
        return OK;
    }
    if (sscanf(value, "%15s %" SCNd64 " %" SCNd64, which, &a, &b) >= 2)
        for (int i = 0; i < TRACES; i++) {
            if (strcmp(which, traces[i])) continue;
            if (!strcmp(key, "point")) return add_point(&gpu->trace[i], a, b), OK;
            if (!strcmp(key, "period")) return gpu->trace[i].period_ns = a, OK;
        }
    fprintf(stderr, "nvml double: unknown line '%s %s'\n", key, value);
    return UNKNOWN_ERROR;
}

static int scene_line(const char *key, const char *value) {
    if (!strcmp(key, "gpu")) {
        if (scene.gpus == MAX_GPUS) return UNKNOWN_ERROR;
        gpu_t *gpu = &scene.gpu[scene.gpus++];
        memset(gpu, 0, sizeof *gpu);
        gpu->gain = 1.0;
        return OK;
    }
    if (!strcmp(key, "clock")) return map_clock(value), OK;
    if (!strcmp(key, "origin_ns")) return scene.origin_ns = strtoll(value, NULL, 10), OK;
    if (!strcmp(key, "latency_ns")) return scene.latency_ns = strtoll(value, NULL, 10), OK;
    if (!strcmp(key, "permission")) return scene.permission = atoi(value), OK;
    if (!strcmp(key, "driver")) return copy(scene.driver, sizeof scene.driver, value), OK;
    if (!strcmp(key, "state")) return copy(scene.state, sizeof scene.state, value), OK;
    return scene.gpus ? device_line(&scene.gpu[scene.gpus - 1], key, value) : UNKNOWN_ERROR;
}

void scene_free(void) {
    for (int g = 0; g < scene.gpus; g++)
        for (int i = 0; i < TRACES; i++) {
            free(scene.gpu[g].trace[i].t_ns);
            free(scene.gpu[g].trace[i].mw);
            free(scene.gpu[g].trace[i].energy_pj);
        }
    if (scene.virtual_clock) munmap((void *)scene.virtual_clock, 16);
    memset(&scene, 0, sizeof scene);
}

int scene_load(const char *path) {
    char line[1024];
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return DRIVER_NOT_LOADED;
    scene_free();
    copy(scene.driver, sizeof scene.driver, "999.99-double");
    int code = OK;
    while (code == OK && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line || *line == '#') continue;
        char *space = strchr(line, ' ');
        if (space) *space++ = 0;
        code = scene_line(line, space ? space : "");
    }
    fclose(file);
    return code;
}
