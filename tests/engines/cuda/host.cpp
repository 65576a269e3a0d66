// The project's kernels as functions of a shared library that run them on the CPU.
#include "host.h"

#include "preprocess.cu"
#include "blur.cu"

extern "C" void preprocess_all(const unsigned char* frame, int pitch, int channels, const Tap* taps, int halvings,
                               int halved_across, int halved_down, unsigned char* output, int size) {
    const int blocks = (size + 15) / 16;
    run_all(blocks, blocks, 16, preprocess, frame, pitch, channels, taps, halvings, halved_across, halved_down, output,
            size);
}

extern "C" void blur_all(const float* source, float* between, float* target, const float* weights, int radius,
                         int size) {
    const int blocks = (size + 15) / 16;
    run_all(blocks, blocks, 16, blur_rows, source, between, weights, radius, size);
    run_all(blocks, blocks, 16, blur_columns, (const float*)between, target, weights, radius, size);
}
