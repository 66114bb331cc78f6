// The rows of every batch of whole epochs, drawn and sorted on the device: the orders of `permutation` in
// kernels/random.py, word for word. One block draws one epoch of one model.

// What is drawn for one model.
struct Draw {
  word seed;
  long long epoch;      // the first one
  long long epochs;
  long long count;      // rows of an epoch
  long long offset;     // of the model's first row in the pool
  long long per_epoch;  // batches
  long long shuffled;
};

// draws (M), rows (M, batches, batch): of every epoch its rows in batches, the last one filled up with the last row.
// Blocks M * epochs; shared memory for the next power of 2 of the rows.
extern "C" __global__ void draw_orders(const Draw* draws, int epochs, int batches, int batch, int* rows) {
  word* const keys = reinterpret_cast<word*>(SHARED_MEMORY);
  const Draw draw = draws[blockIdx.x / epochs];
  const int epoch = blockIdx.x % epochs, count = (int)draw.count, room = (int)draw.per_epoch * batch;
  if (epoch >= draw.epochs) return;
  rows += ((long long)(blockIdx.x / epochs) * batches + epoch * draw.per_epoch) * batch;
  if (!draw.shuffled) {
    for (int i = threadIdx.x; i < room; i += blockDim.x) rows[i] = (int)draw.offset + (i < count ? i : count - 1);
    return;
  }
  int size = 1;
  while (size < count) size *= 2;
  for (int i = 8 * threadIdx.x; i < size; i += 8 * blockDim.x) {
    word drawn[4];
    philox(draw.seed, SHUFFLE, i / 8 + 1, (word)(draw.epoch + epoch), 0, drawn);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const word high = drawn[k / 2] >> (k % 2 * 32) << 32;
      if (i + k < size) keys[i + k] = i + k < count ? high | (word)(i + k) : ~(word)0;
    }
  }
  for (int run = 2; run <= size; run *= 2)  // Batcher's bitonic sort
    for (int apart = run / 2; apart > 0; apart /= 2) {
      __syncthreads();
      for (int t = threadIdx.x; t < size / 2; t += blockDim.x) {
        const int i = 2 * t - (t & (apart - 1));
        const word a = keys[i], b = keys[i + apart];
        if ((a > b) == ((i & run) == 0)) {
          keys[i] = b;
          keys[i + apart] = a;
        }
      }
    }
  __syncthreads();
  for (int i = threadIdx.x; i < room; i += blockDim.x)
    rows[i] = (int)draw.offset + (int)(keys[i < count ? i : count - 1] & 0xFFFFFFFFull);
}
