// One kernel from the camera's frame to the network's input: region of interest, halvings, bilinear resize, crop, RGB.
//
// It computes in integers what engines/preprocess.py computes with OpenCV, rounding where OpenCV rounds, so that it
// gives the same bits on every GPU, and on the CPU that the tests compile it for. Which pixels an output is made of
// comes from the host (engines/cuda/sampling.py), once for each geometry: no rounding of coordinates happens here.

// A camera's picture: bytes from one row to the next and from one pixel to the next, and which of the halvings concern
// its width and its height, a bit each, the first one lowest.
struct Picture {
    const unsigned char* pixels;
    int pitch;
    int channels;
    int halved_across;
    int halved_down;
};

// A sum of `count` pixels, averaged as OpenCV's area resize does: four are rounded half up, two half to even.
__device__ inline int mean_of(int sum, int count) {
    if (count == 4) return (sum + 2) >> 2;
    if (count == 2) return (sum + ((sum >> 1) & 1)) >> 1;
    return sum;
}

// The pixel at (x, y) after `Halvings` halvings. Each averages the pixels of the one before, which were rounded.
template <int Halvings>
struct Halved {
    __device__ static int at(const Picture& picture, int x, int y) {
        const int across = (picture.halved_across >> (Halvings - 1)) & 1;
        const int down = (picture.halved_down >> (Halvings - 1)) & 1;
        const int count = 1 << (across + down);
        int sum = 0;
        // One loop, and not unrolled: with two, six levels kept nvcc 13.0 busy for 16 s (sm_120), with this one for 4 s.
#pragma unroll 1
        for (int child = 0; child < count; ++child)
            sum += Halved<Halvings - 1>::at(picture, (x << across) + (child & across), (y << down) + (child >> across));
        return mean_of(sum, count);
    }
};

template <>
struct Halved<0> {
    __device__ static int at(const Picture& picture, int x, int y) {
        return picture.pixels[(long long)y * picture.pitch + x * picture.channels];
    }
};

// Where an output row or column lies between two input ones: `first` and `second`, and the share of the second in
// units of 1/2048, as OpenCV's bilinear resize has it.
struct Tap {
    int first;
    int second;
    int share;
};

template <int Halvings>
__device__ int sample(const Picture& picture, const Tap& column, const Tap& row) {
    int blended = 0;
#pragma unroll 1
    for (int lower = 0; lower < 2; ++lower) {
        const int y = lower ? row.second : row.first;
        const int line = Halved<Halvings>::at(picture, column.first, y) * (2048 - column.share) +
                         Halved<Halvings>::at(picture, column.second, y) * column.share;
        blended += ((lower ? row.share : 2048 - row.share) * (line >> 4)) >> 16;
    }
    return (blended + 2) >> 2;
}

template <int Halvings>
__device__ void pixel(Picture picture, const Tap& column, const Tap& row, unsigned char* output) {
    const unsigned char* first = picture.pixels;
#pragma unroll 1
    for (int channel = 0; channel < 3; ++channel) {
        // Blue, green, red become red, green, blue; grey has one channel only.
        picture.pixels = first + (picture.channels == 3 ? 2 - channel : 0);
        output[channel] = channel && picture.channels == 1 ? output[0] : sample<Halvings>(picture, column, row);
    }
}

// `frame` points to the region's first pixel, `taps` to `size` taps of the columns and then `size` of the rows.
// `output` is RGB uint8 of shape (size, size, 3). One thread a pixel.
extern "C" __global__ void preprocess(const unsigned char* frame, int pitch, int channels, const Tap* taps,
                                      int halvings, int halved_across, int halved_down, unsigned char* output,
                                      int size) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= size || y >= size) return;
    const Picture picture = {frame, pitch, channels, halved_across, halved_down};
    const Tap column = taps[x];
    const Tap row = taps[size + y];
    unsigned char* target = output + 3 * (y * size + x);
    switch (halvings) {
        case 0: return pixel<0>(picture, column, row, target);
        case 1: return pixel<1>(picture, column, row, target);
        case 2: return pixel<2>(picture, column, row, target);
        case 3: return pixel<3>(picture, column, row, target);
        case 4: return pixel<4>(picture, column, row, target);
        case 5: return pixel<5>(picture, column, row, target);
    }
}
