// Gaussian blur of float32 maps, rows first and columns after, with scipy's border rule: the map is mirrored with its
// edge pixel repeated. The engine does this inside its graph; this stands alone, for the benchmark to compare.

__device__ inline int mirrored(int index, int size) {
    const int period = 2 * size;
    index %= period;
    if (index < 0) index += period;
    return index < size ? index : period - 1 - index;
}

// One thread a pixel. `weights` are 2 * radius + 1 numbers, `step` is the distance of neighbours in the array.
__device__ inline float weighted(const float* line, int index, int size, int step, const float* weights, int radius) {
    float sum = 0.0f;
    for (int offset = -radius; offset <= radius; ++offset)
        sum += weights[offset + radius] * line[mirrored(index + offset, size) * step];
    return sum;
}

extern "C" __global__ void blur_rows(const float* source, float* target, const float* weights, int radius, int size) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < size && y < size) target[y * size + x] = weighted(source + y * size, x, size, 1, weights, radius);
}

extern "C" __global__ void blur_columns(const float* source, float* target, const float* weights, int radius,
                                        int size) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < size && y < size) target[y * size + x] = weighted(source + x, y, size, size, weights, radius);
}
