/* Stands for a CUDA driver that crashes whoever starts it; bench/gpu.py puts it before the real one. */
#include <stdlib.h>

#define BROKEN(name) \
    int name(void) { abort(); }

BROKEN(cuInit)
BROKEN(cuDeviceGet)
BROKEN(cuDevicePrimaryCtxRetain)
BROKEN(cuDevicePrimaryCtxRelease_v2)
BROKEN(cuCtxSetCurrent)
BROKEN(cuStreamCreate)
BROKEN(cuStreamDestroy_v2)
BROKEN(cuStreamSynchronize)
BROKEN(cuMemHostAlloc)
BROKEN(cuMemFreeHost)
BROKEN(cuMemcpyHtoDAsync_v2)
BROKEN(cuMemcpyDtoHAsync_v2)
BROKEN(cuGetErrorName)
