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

enum { SUCCESS = 0, INVALID_CONTEXT = 201, LAUNCH_FAILED = 719 };

int host_devices = 1;             /* how many GPUs the machine has */
int host_failure = SUCCESS;       /* what every later call on the device returns, as after a fault in a kernel */
int host_device_allocations = 0;  /* alive now */
int host_pinned_allocations = 0;
int host_streams = 0;
int host_uploads = 0;             /* copies to the device so far */
int host_downloads = 0;

static const char context_object, stream_object;
static _Thread_local CUcontext current;

static CUresult usable(void) {
    if (current != (CUcontext)&context_object) return INVALID_CONTEXT;
    return host_failure;
}

CUresult cuInit(unsigned int flags) { return flags == 0 ? SUCCESS : 1; }

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == LAUNCH_FAILED ? "unspecified launch failure"
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
