/* The NVML double: shapes shared by its rooms. Struct layouts and codes are those of NVML's ABI. */
#ifndef TPB_NVML_DOUBLE_H
#define TPB_NVML_DOUBLE_H

#include <stdint.h>

#define API __attribute__((visibility("default")))

#define MAX_GPUS 16
#define MAX_INTERVALS 64
#define MAX_UNSUPPORTED 64
#define MAX_MIG 8
#define MAX_GENERATIONS 4096

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, UNKNOWN_ERROR = 999
};
enum { PERMISSION_FULL, PERMISSION_READ_ONLY, PERMISSION_NONE };
enum { TRACE_GPU, TRACE_MODULE, TRACE_MEMORY, TRACES };

typedef void *device_t;

/* Piecewise constant power; `energy_pj[i]` is the integral from time 0 to `t_ns[i]`. mW x ns = pJ. */
typedef struct {
    int64_t *t_ns;
    int64_t *mw;
    long double *energy_pj;
    int count, room;
    int64_t period_ns; /* 0: the last level goes on for ever */
} trace_t;

typedef struct { int64_t from_ns, until_ns, a, b; } interval_t;
typedef struct { interval_t at[MAX_INTERVALS]; int count; } intervals_t;
typedef struct { char uuid[96]; unsigned gpu_instance, compute_instance, slices, multiprocessors; uint64_t memory_mb; } mig_t;

typedef struct {
    char uuid[96], name[96], pci[32], serial[32];
    unsigned architecture, cuda_major, cuda_minor, multiprocessors;
    trace_t trace[TRACES];
    int64_t window_ns, refresh_ns, phase_ns, delay_ns, average_window_ns, average_refresh_ns;
    int power_usage_is_average, stamp_is_refresh;
    int64_t counter_refresh_ns, counter_phase_ns, counter_base_mj;
    int counter_from_samples, counter_scope; /* scope: TRACE_GPU or TRACE_MODULE */
    double gain, offset_mw;
    int64_t noise_mw, quantum_mw;
    intervals_t absent, resets, zeros, failures, processes; /* failures: a = field or 0, b = code; processes: a = pid, b = bytes */
    int zero_every;
    unsigned unsupported_field[MAX_UNSUPPORTED];
    int unsupported_scope[MAX_UNSUPPORTED]; /* -1: every scope */
    int unsupported;
    unsigned limit_min_mw, limit_max_mw, limit_default_mw;
    unsigned temperature_c, sm_mhz, mem_mhz, utilisation, memory_utilisation;
    uint64_t reasons, memory_total;
    int mig_mode;
    mig_t mig[MAX_MIG];
    int migs;
    unsigned mig_slices_total;
    long double samples_pj; /* state of a counter that adds up readings */
    int64_t samples_k, samples_from_ns;
    int64_t reads;
} gpu_t;

typedef struct {
    gpu_t gpu[MAX_GPUS];
    int gpus;
    char driver[64], state[512];
    int64_t origin_ns, latency_ns;
    int permission;
    const volatile int64_t *virtual_clock; /* {monotonic, realtime}, memory-mapped; NULL: the real clocks */
} scene_t;

extern scene_t scene;
extern int initialised;

int scene_load(const char *path);
void scene_free(void);

int64_t now_ns(void);         /* trace time: the run clock minus the scene's origin */
int64_t realtime_us(int64_t trace_ns);
void spend_latency(void);
long double trace_energy_pj(const trace_t *trace, int64_t t_ns);
int64_t trace_power_mw(const trace_t *trace, int64_t t_ns);
int64_t sensor_power_mw(const gpu_t *gpu, int which, int64_t window_ns, int64_t refresh_ns, int64_t t_ns, int64_t *refreshed_ns);
uint64_t counter_mj(gpu_t *gpu, int64_t t_ns, int64_t *refreshed_ns);

const interval_t *interval_at(const intervals_t *list, int64_t t_ns);
int is_present(const gpu_t *gpu, int64_t t_ns);
int generation_of(const gpu_t *gpu, int64_t t_ns);
device_t handle_of(int gpu, int generation, int mig);
int open_device(device_t device, gpu_t **gpu, mig_t **mig); /* spends the latency, checks handle, presence and permission */
int is_unsupported(const gpu_t *gpu, unsigned field, int scope);
int failure_of(const gpu_t *gpu, unsigned field, int64_t t_ns);

unsigned state_power_limit_mw(const gpu_t *gpu);
void state_locked_clocks(const gpu_t *gpu, unsigned *low_mhz, unsigned *high_mhz);

#endif
