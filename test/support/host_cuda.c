/* A stand-in for the NVIDIA driver's library: the same functions with cuda.h's prototypes, on host memory.
 *
 * It lets the ctypes prototypes, the life of memory and the path of data be tested without a GPU: "device" addresses are
 * host addresses. Copies are done at once, so it says nothing about ordering. Counters and the failure to play are
 * exported for the tests.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, LAUNCH_FAILED = 719,
       CAPTURE_UNSUPPORTED = 900 };

int host_devices = 1;             /* how many GPUs the machine has */
int host_failure = SUCCESS;       /* what every later call on the device returns, as after a fault in a kernel */
int host_device_allocations = 0;  /* alive now */
int host_pinned_allocations = 0;
int host_streams = 0;
int host_uploads = 0;             /* copies to the device so far */
int host_downloads = 0;
int host_copies = 0;              /* from the device to the device */
int host_full = 0;                /* whether the device's memory is used up */
int host_graphs = 0;              /* alive now */
int host_launches = 0;            /* of graphs so far */
int host_work_failed = 0;         /* set by work of a graph that fails, without harm to the device */
int host_capturable = 1;          /* whether what is recorded may be */

typedef void (*Work)(void);
enum { MOST_RECORDED = 64 };
static struct CUgraph_st { Work works[MOST_RECORDED]; int count; } recorded;
static int recording = 0;

/* Kernels, for the stand-in of TensorRT: 1 if the stream records and has taken this one, which is then not to be run. */
int host_takes(Work work) {
    if (recording && recorded.count < MOST_RECORDED) recorded.works[recorded.count++] = work;
    return recording;
}

static const char context_object, stream_object;
static _Thread_local CUcontext current;

static CUresult usable(void) {
    if (current != (CUcontext)&context_object) return INVALID_CONTEXT;
    return host_failure;
}

CUresult cuInit(unsigned int flags) { return flags == 0 ? SUCCESS : 1; }

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == LAUNCH_FAILED ? "unspecified launch failure"
            : error == OUT_OF_MEMORY ? "out of memory"
            : error == CAPTURE_UNSUPPORTED ? "operation not permitted when stream is capturing"
            : error == INVALID_CONTEXT ? "invalid device context" : "invalid argument";
    return SUCCESS;
}

CUresult cuDeviceGetCount(int *count) { *count = host_devices; return SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return SUCCESS; }

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    (void)device;
    strncpy(name, "Host GPU", (size_t)length);
    return SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    (void)device;
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : attribute == 16 ? 14 : -1;
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    (void)device;
    *context = (CUcontext)&context_object;
    return SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) { current = context; return host_failure; }

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    if (usable()) return usable();
    if (host_full) return OUT_OF_MEMORY;
    *address = (CUdeviceptr)(uintptr_t)malloc(size);
    host_device_allocations++;
    return SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    free((void *)(uintptr_t)address);
    host_device_allocations--;
    return usable();
}

CUresult cuMemAllocHost_v2(void **address, size_t size) {
    if (usable()) return usable();
    *address = malloc(size);
    memset(*address, 0xAA, size);
    host_pinned_allocations++;
    return SUCCESS;
}

CUresult cuMemFreeHost(void *address) {
    free(address);
    host_pinned_allocations--;
    return usable();
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t size, CUstream stream) {
    if (usable()) return usable();
    if (stream != (CUstream)&stream_object) return 1;
    memcpy((void *)(uintptr_t)target, source, size);
    host_uploads++;
    return SUCCESS;
}

CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t size, CUstream stream) {
    if (usable()) return usable();
    if (stream != (CUstream)&stream_object) return 1;
    memcpy(target, (const void *)(uintptr_t)source, size);
    host_downloads++;
    return SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned int flags) {
    if (usable()) return usable();
    if (flags != 1) return 1;
    *stream = (CUstream)&stream_object;
    host_streams++;
    return SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
    if (stream != (CUstream)&stream_object) return 1;
    host_streams--;
    return host_failure;
}

CUresult cuStreamSynchronize(CUstream stream) {
    if (stream != (CUstream)&stream_object) return 1;
    return usable();
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream) {
    if (usable()) return usable();
    if (stream != (CUstream)&stream_object) return 1;
    memcpy((void *)(uintptr_t)target, (const void *)(uintptr_t)source, size);
    host_copies++;
    return SUCCESS;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
    if (usable()) return usable();
    if (stream != (CUstream)&stream_object || mode != 2 || recording) return 1;
    recording = 1;
    recorded.count = 0;
    return SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, struct CUgraph_st **graph) {
    if (stream != (CUstream)&stream_object || !recording) return 1;
    recording = 0;
    *graph = NULL;
    if (usable()) return usable();
    if (!host_capturable) return CAPTURE_UNSUPPORTED;
    *graph = malloc(sizeof recorded);
    **graph = recorded;
    host_graphs++;
    return SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(struct CUgraph_st **executable, struct CUgraph_st *graph, unsigned long long flags) {
    if (usable()) return usable();
    if (flags != 0) return 1;
    *executable = malloc(sizeof recorded);
    **executable = *graph;
    host_graphs++;
    return SUCCESS;
}

CUresult cuGraphDestroy(struct CUgraph_st *graph) { free(graph); host_graphs--; return SUCCESS; }
CUresult cuGraphExecDestroy(struct CUgraph_st *executable) { return cuGraphDestroy(executable); }

CUresult cuGraphLaunch(struct CUgraph_st *executable, CUstream stream) {
    if (usable()) return usable();
    if (stream != (CUstream)&stream_object) return 1;
    for (int i = 0; i < executable->count; i++) executable->works[i]();
    host_launches++;
    const int failed = host_work_failed;
    host_work_failed = 0;
    return failed ? LAUNCH_FAILED : SUCCESS;
}
