// What a kernel needs to run on the CPU, one thread after another. Included before its source.
#pragma once

#define __global__
#define __device__

struct Index {
    int x, y, z;
};

static thread_local Index blockIdx, blockDim, threadIdx;

template <typename Kernel, typename... Arguments>
void run_all(int blocks_x, int blocks_y, int side, Kernel kernel, Arguments... arguments) {
    blockDim = {side, side, 1};
    for (blockIdx.y = 0; blockIdx.y < blocks_y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < blocks_x; ++blockIdx.x)
            for (threadIdx.y = 0; threadIdx.y < side; ++threadIdx.y)
                for (threadIdx.x = 0; threadIdx.x < side; ++threadIdx.x) kernel(arguments...);
}
