// One thread block trains one model: a whole chunk of steps in one launch, weights and activations in shared memory.
//
// What is written before this text fixes the net: `real`, `Loss`, the constants in capitals, one struct per layer with
// its places in shared memory, `descend` (the optimizer's rule) and, after it, `train_step` (the layers in order).
// Every sum runs in a fixed order, so a model's bits depend neither on its neighbours nor on the order of threads.
//
// Rows of a matrix in shared memory lie an odd number of values apart, so that a column meets every bank once.

typedef Loss::target_type target_type;
typedef long long offset;

template <int DOWN, int ACROSS>
struct Tile {
  static constexpr int down = DOWN, across = ACROSS;
};

// store(r, c, sum over k of left(r, k) right(k, c)): a thread owns a tile of outputs that lie far apart, so that
// neighbouring threads read neighbouring columns. Places beyond the edge repeat the last row or column, unstored.
template <int ROWS, int COLUMNS, int DEPTH, class T, class Left, class Right, class Store>
__device__ __forceinline__ void product(Left left, Right right, Store store) {
  constexpr int down = (ROWS + T::down - 1) / T::down, across = (COLUMNS + T::across - 1) / T::across;
  for (int tile = threadIdx.x; tile < down * across; tile += THREADS) {
    int row[T::down], column[T::across];
    real sum[T::down][T::across];
#pragma unroll
    for (int i = 0; i < T::down; ++i) row[i] = tile / across + i * down;
#pragma unroll
    for (int j = 0; j < T::across; ++j) column[j] = tile % across + j * across;
#pragma unroll
    for (int i = 0; i < T::down; ++i)
#pragma unroll
      for (int j = 0; j < T::across; ++j) sum[i][j] = 0;
#pragma unroll 4
    for (int k = 0; k < DEPTH; ++k) {
      real a[T::down], b[T::across];
#pragma unroll
      for (int i = 0; i < T::down; ++i) a[i] = left(row[i] < ROWS ? row[i] : ROWS - 1, k);
#pragma unroll
      for (int j = 0; j < T::across; ++j) b[j] = right(k, column[j] < COLUMNS ? column[j] : COLUMNS - 1);
#pragma unroll
      for (int i = 0; i < T::down; ++i)
#pragma unroll
        for (int j = 0; j < T::across; ++j) sum[i][j] += a[i] * b[j];
    }
#pragma unroll
    for (int i = 0; i < T::down; ++i)
#pragma unroll
      for (int j = 0; j < T::across; ++j)
        if (row[i] < ROWS && column[j] < COLUMNS) store(row[i], column[j], sum[i][j]);
  }
}

// Copies that go on while the block computes; they are there after wait_for_copies and a barrier.
template <class T>
__device__ __forceinline__ void copy_async(T* shared, const T* global) {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
               :: "r"((unsigned)__cvta_generic_to_shared(shared)), "l"(global), "n"(sizeof(T)) : "memory");
#else
  host_copy_async(shared, global);
#endif
}

__device__ __forceinline__ void wait_for_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  host_wait_for_copies();
#endif
}

// One model's optimizer state: in shared memory beside the weights, or in device memory where that is full.
struct Slots {
  real* first;
  offset stride;  // from one slot to the next

  template <class L>
  __device__ __forceinline__ real* at(int row, int column) const {
    return first + (SLOTS_SHARED ? L::weights + row * L::weights_stride : L::flat + row * L::outputs) + column;
  }
};

// What one step reads beside shared memory.
struct Step {
  const real* inputs;           // (BATCH, Layer1::below_stride) shared
  const target_type* targets;   // (BATCH, TARGETS) shared
  const real* row_weights;      // (BATCH), where ROW_WEIGHTS
  real* records;                // (BATCH): loss of every row
  int valid;                    // rows that are not padding
  real numbers[RATES + HYPER];  // rates of this step, then the model's own numbers, decay last
};

template <class L>
__device__ __forceinline__ const real* below(const real* memory, const Step& step) {
  return L::below < 0 ? step.inputs : memory + L::below;
}

// z = [W; b] a;  a = f(z) for the layer above, f'(z) where its delta will be. The last layer's scores stay z.
template <class L>
__device__ __forceinline__ void forward(real* memory, const Step& step) {
  const real *from = below<L>(memory, step), *weights = memory + L::weights;
  product<BATCH, L::outputs, L::rows, typename L::Forward>(
      [=](int r, int k) { return from[r * L::below_stride + k]; },
      [=](int k, int c) { return weights[k * L::weights_stride + c]; },
      [=](int r, int c, real z) { L::activate(memory, r, c, z); });
}

// delta below = f'(z) * (delta W^T), in the place that holds f'(z)
template <class L>
__device__ __forceinline__ void backward(real* memory) {
  const real *delta = memory + L::delta, *weights = memory + L::weights;
  real* out = memory + L::below_delta;
  product<BATCH, L::inputs, L::outputs, typename L::Backward>(
      [=](int r, int c) { return delta[r * L::delta_stride + c]; },
      [=](int c, int k) { return weights[k * L::weights_stride + c]; },
      [=](int r, int k, real upstream) { out[r * L::below_delta_stride + k] *= upstream; });
}

// d[W; b] = a^T delta, applied at once
template <class L>
__device__ __forceinline__ void update(real* memory, const Step& step, const Slots& slots) {
  const real *from = below<L>(memory, step), *delta = memory + L::delta;
  product<L::rows, L::outputs, BATCH, typename L::Update>(
      [=](int k, int r) { return from[r * L::below_stride + k]; },
      [=](int r, int c) { return delta[r * L::delta_stride + c]; },
      [=](int k, int c, real gradient) {
        const real decay = k < L::inputs ? step.numbers[RATES + HYPER - 1] : real(0);  // biases are not decayed
        descend(memory[L::weights + k * L::weights_stride + c], gradient, decay, slots.at<L>(k, c), slots.stride,
                step.numbers);
      });
}

// Scores become weight * dL/dscores; a padded row weighs nothing.
template <class L>
__device__ __forceinline__ void loss(real* memory, const Step& step) {
  const real scale = LOSS_IS_MEAN ? real(1) / real(step.valid) : real(1);
  for (int r = threadIdx.x; r < BATCH; r += THREADS) {
    real weight = r < step.valid ? real(1) : real(0), record[Loss::records];
    if (ROW_WEIGHTS) weight *= step.row_weights[r];
    Loss::step(memory + L::delta + r * L::delta_stride, 1, L::outputs, step.targets + r * TARGETS, weight * scale,
               LOSS_OPTION, record);
    step.records[r] = weight > real(0) ? weight * Loss::value(record) : real(0);
  }
}

// Weights, and the slots that live in shared memory, in or out.
template <class L, bool IN>
__device__ __forceinline__ void carry(real* memory, real* global, offset stride) {
  for (int i = threadIdx.x; i < L::rows * L::outputs; i += THREADS) {
    const int place = L::weights + i / L::outputs * L::weights_stride + i % L::outputs;
    for (int s = 0; s < 1 + (SLOTS_SHARED ? SLOTS : 0); ++s) {
      real &here = memory[s * WEIGHTS + place], &there = global[s * stride + L::flat + i];
      if (IN) here = there;
      else there = here;
    }
  }
}

// The column of ones that meets the biases.
template <class L>
__device__ __forceinline__ void append_ones(real* memory) {
  if (BIAS && L::below >= 0)
    for (int r = threadIdx.x; r < BATCH; r += THREADS) memory[L::below + r * L::below_stride + L::inputs] = real(1);
}

// The layers in order; written after this text.
__device__ __forceinline__ void train_step(real* memory, const Step& step, const Slots& slots);
template <bool IN>
__device__ __forceinline__ void carry_net(real* memory, real* global, offset stride);
__device__ __forceinline__ void append_all_ones(real* memory);

// Begin to copy the rows' numbers of one batch: `batch` holds BATCH rows of the pool and the count of valid ones.
__device__ __forceinline__ void fetch_rows(int* rows, const int* batch) {
  for (int r = threadIdx.x; r < BATCH; r += THREADS) copy_async(rows + r, batch + r);
}

// Begin to copy one batch's inputs and targets.
__device__ __forceinline__ void fetch_batch(
    real* inputs, target_type* targets, const int* rows, const real* x, const target_type* y) {
  for (int i = threadIdx.x; i < BATCH * Layer1::rows; i += THREADS) {
    const int r = i / Layer1::rows, k = i % Layer1::rows;
    copy_async(inputs + r * Layer1::below_stride + k, x + (offset)rows[r] * Layer1::rows + k);
  }
  for (int i = threadIdx.x; i < BATCH * TARGETS; i += THREADS)
    copy_async(targets + i, y + (offset)rows[i / TARGETS] * TARGETS + i % TARGETS);
}

// models (blocks)            which model a block trains: a place among `capacity` models; the others stay untouched
// state (1 + SLOTS, capacity, PARAMETERS)   parameters, then the optimizer's slots
// x (R, Layer1::rows), y (R, TARGETS)       the pooled rows; x ends with ones where layers have biases
// batches (blocks, steps, BATCH + 1)        rows of every batch, then how many of them are not padding
// rates (blocks, steps, RATES), hyper (capacity, HYPER)     the optimizer's numbers
// row_weights (blocks, steps, BATCH)        read where ROW_WEIGHTS
// records (blocks, steps, BATCH) scratch;  losses (blocks, steps): weighted sum of the rows' losses
extern "C" __global__ void __launch_bounds__(THREADS, 1) train(
    const int* models, int steps, int capacity, real* state, const real* x, const target_type* y, const int* batches,
    const real* rates, const real* hyper, const real* row_weights, real* records, double* losses) {
  real* const memory = reinterpret_cast<real*>(SHARED_MEMORY);
  target_type* const targets = reinterpret_cast<target_type*>(memory + TARGETS_AT);
  int* const rows = reinterpret_cast<int*>(targets + 2 * BATCH * TARGETS);

  const offset model = models[blockIdx.x], first = (offset)blockIdx.x * steps, stride = (offset)capacity * PARAMETERS;
  real* const own = state + model * PARAMETERS;
  const Slots slots = SLOTS_SHARED ? Slots{memory + WEIGHTS, WEIGHTS} : Slots{own + stride, stride};
  batches += first * (BATCH + 1);
  rates += first * RATES;
  records += first * BATCH;
  hyper += model * HYPER;

  carry_net<true>(memory, own, stride);
  append_all_ones(memory);
  fetch_rows(rows, batches);
  if (steps > 1) fetch_rows(rows + BATCH, batches + (BATCH + 1));
  wait_for_copies();
  __syncthreads();
  fetch_batch(memory + INPUTS_AT, targets, rows, x, y);

  for (int s = 0; s < steps; ++s) {
    const int here = s % 2, next = 1 - here;
    Step step;
    step.inputs = memory + INPUTS_AT + here * INPUTS;
    step.targets = targets + here * BATCH * TARGETS;
    step.row_weights = row_weights + (first + s) * BATCH;
    step.records = records + (offset)s * BATCH;
    step.valid = batches[(offset)s * (BATCH + 1) + BATCH];
    for (int i = 0; i < RATES; ++i) step.numbers[i] = rates[(offset)s * RATES + i];
    for (int i = 0; i < HYPER; ++i) step.numbers[RATES + i] = hyper[i];

    wait_for_copies();
    __syncthreads();  // the batch is there, and the weights of the step before
    if (s + 1 < steps)
      fetch_batch(memory + INPUTS_AT + next * INPUTS, targets + next * BATCH * TARGETS, rows + next * BATCH, x, y);
    if (s + 2 < steps) fetch_rows(rows + here * BATCH, batches + (offset)(s + 2) * (BATCH + 1));
    train_step(memory, step, slots);
  }

  __syncthreads();
  carry_net<false>(memory, own, stride);
  for (int s = threadIdx.x; s < steps; s += THREADS) {
    double sum = 0;
    for (int r = 0; r < BATCH; ++r) sum += (double)records[(offset)s * BATCH + r];
    losses[first + s] = sum;
  }
}
