// One thread block for one model, its weights and activations in shared memory: what the kernels that train it and
// that measure it have in common.
//
// What is written before this text fixes the net: `real`, `Loss`, the constants in capitals, one struct per layer with
// its places in shared memory, `descend` (the optimizer's rule) and, after it, `train_step` and `forward_pass` (the
// layers in order).
// Every sum runs in a fixed order, so a model's bits depend neither on its neighbours nor on the order of threads.
//
// A row of a matrix in shared memory takes an odd number of 16-byte words, so that the words of neighbouring rows lie
// in different banks, and is read and written a word at a time. What fills up a row is never used.

typedef Loss::target_type target_type;
typedef long long offset;

// N neighbouring numbers, moved at once.
template <int N>
struct alignas(N * sizeof(real)) Pack {
  real at[N];
};
constexpr int WORD = 16 / sizeof(real);

template <int N>
__device__ __forceinline__ Pack<N>& pack(real* place) { return *reinterpret_cast<Pack<N>*>(place); }
template <int N>
__device__ __forceinline__ const Pack<N>& pack(const real* place) { return *reinterpret_cast<const Pack<N>*>(place); }

// What a thread owns of a product: DOWN x ACROSS outputs. Along a side whose neighbours lie side by side in memory
// they are groups of up to WORD neighbours; otherwise, and from group to group, they lie far apart, so that
// neighbouring threads read neighbouring words. Groups beyond the edge repeat the last one, unstored.
template <int DOWN, int ACROSS>
struct Tile {
  static constexpr int down = DOWN, across = ACROSS;
};
__device__ constexpr int group_of(int side) { return side < WORD ? side : WORD; }

// Places of one side of a tile: of group g, the first of its GROUP neighbours.
template <int COUNT, int SIDE, int GROUP>
struct Side {
  static constexpr int groups = (COUNT + GROUP - 1) / GROUP, own = SIDE / GROUP, tiles = (groups + own - 1) / own;
  int first[own];
  __device__ __forceinline__ explicit Side(int tile) {
#pragma unroll
    for (int g = 0; g < own; ++g) first[g] = (tile + g * tiles < groups ? tile + g * tiles : groups - 1) * GROUP;
  }
  __device__ __forceinline__ bool owns(int tile, int g) const { return tile + g * tiles < groups; }
};

// Steps of a sum whose factors both lie side by side along the outputs: sum += a[i] b[j] for every k.
template <class T, class Rows, class Columns>
__device__ __forceinline__ void add_outer(
    real (&sum)[T::down][T::across], const real* left, int left_stride, const real* right, int right_stride, int depth,
    const Rows& rows, const Columns& columns) {
  constexpr int in_row = group_of(T::down), in_column = group_of(T::across);
#pragma unroll 4
  for (int k = 0; k < depth; ++k) {
    Pack<in_row> a[T::down / in_row];
    Pack<in_column> b[T::across / in_column];
#pragma unroll
    for (int g = 0; g < T::down / in_row; ++g) a[g] = pack<in_row>(left + k * left_stride + rows.first[g]);
#pragma unroll
    for (int g = 0; g < T::across / in_column; ++g) b[g] = pack<in_column>(right + k * right_stride + columns.first[g]);
#pragma unroll
    for (int i = 0; i < T::down; ++i)
#pragma unroll
      for (int j = 0; j < T::across; ++j)
        sum[i][j] += a[i / in_row].at[i % in_row] * b[j / in_column].at[j % in_column];
  }
}

// N steps, k on, of a sum over left(r, k) right(k, c) whose left factors lie side by side along k.
template <int N, class T, class Rows, class Columns>
__device__ __forceinline__ void add_row_column(
    real (&sum)[T::down][T::across], const real* left, int left_stride, const real* right, int right_stride, int k,
    const Rows& rows, const Columns& columns) {
  constexpr int in_column = group_of(T::across);
  Pack<N> a[T::down];
  Pack<in_column> b[N][T::across / in_column];
#pragma unroll
  for (int i = 0; i < T::down; ++i) a[i] = pack<N>(left + rows.first[i] * left_stride + k);
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int g = 0; g < T::across / in_column; ++g)
      b[n][g] = pack<in_column>(right + (k + n) * right_stride + columns.first[g]);
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < T::down; ++i)
#pragma unroll
      for (int j = 0; j < T::across; ++j) sum[i][j] += a[i].at[n] * b[n][j / in_column].at[j % in_column];
}

// N steps, k on, of a sum over left(r, k) right(c, k): both factors lie side by side along k.
template <int N, class T, class Rows, class Columns>
__device__ __forceinline__ void add_row_row(
    real (&sum)[T::down][T::across], const real* left, int left_stride, const real* right, int right_stride, int k,
    const Rows& rows, const Columns& columns) {
  Pack<N> a[T::down], b[T::across];
#pragma unroll
  for (int i = 0; i < T::down; ++i) a[i] = pack<N>(left + rows.first[i] * left_stride + k);
#pragma unroll
  for (int j = 0; j < T::across; ++j) b[j] = pack<N>(right + columns.first[j] * right_stride + k);
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < T::down; ++i)
#pragma unroll
      for (int j = 0; j < T::across; ++j) sum[i][j] += a[i].at[n] * b[j].at[n];
}

template <class T>
__device__ __forceinline__ void clear(real (&sum)[T::down][T::across]) {
#pragma unroll
  for (int i = 0; i < T::down; ++i)
#pragma unroll
    for (int j = 0; j < T::across; ++j) sum[i][j] = 0;
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
};

// What one step reads beside shared memory.
struct Step {
  const real* inputs;           // (BATCH, Layer1::below_stride) shared
  const target_type* targets;   // (BATCH, TARGETS) shared
  const real* row_weights;      // (BATCH), where ROW_WEIGHTS
  real* records;                // (BATCH, Loss::records): what tells the loss of every row
  int valid;                    // rows that are not padding
  real numbers[RATES + HYPER];  // rates of this step, then the model's own numbers, decay last
};

template <class L>
__device__ __forceinline__ const real* below(const real* memory, const Step& step) {
  return L::below < 0 ? step.inputs : memory + L::below;
}

// z = b + W^T a;  a = f(z) for the layer above, f'(z) where its delta will be. The last layer's scores stay z.
template <class L>
__device__ __forceinline__ void forward(real* memory, const Step& step) {
  typedef typename L::Forward T;
  typedef Side<BATCH, T::down, 1> Rows;
  typedef Side<L::outputs, T::across, group_of(T::across)> Columns;
  constexpr int words = L::inputs / WORD * WORD, width = group_of(T::across);
  const real *from = below<L>(memory, step), *weights = memory + L::weights;
  for (int tile = threadIdx.x; tile < Rows::tiles * Columns::tiles; tile += THREADS) {
    const int down = tile / Columns::tiles, across = tile % Columns::tiles;
    const Rows rows(down);
    const Columns columns(across);
    real sum[T::down][T::across];
    clear<T>(sum);
#pragma unroll 2
    for (int k = 0; k < words; k += WORD)
      add_row_column<WORD, T>(sum, from, L::below_stride, weights, L::weights_stride, k, rows, columns);
#pragma unroll
    for (int k = words; k < L::inputs; ++k)
      add_row_column<1, T>(sum, from, L::below_stride, weights, L::weights_stride, k, rows, columns);
#pragma unroll
    for (int g = 0; g < Columns::own; ++g) {
      Pack<width> bias, value, slope;
      if (BIAS) bias = pack<width>(weights + L::inputs * L::weights_stride + columns.first[g]);
#pragma unroll
      for (int i = 0; i < T::down; ++i) {
        if (!rows.owns(down, i) || !columns.owns(across, g)) continue;
#pragma unroll
        for (int j = 0; j < width; ++j)
          L::activate(sum[i][g * width + j] + (BIAS ? bias.at[j] : real(0)), value.at[j], slope.at[j]);
        pack<width>(memory + L::delta + rows.first[i] * L::delta_stride + columns.first[g]) = slope;
        if (L::above >= 0) pack<width>(memory + L::above + rows.first[i] * L::above_stride + columns.first[g]) = value;
      }
    }
  }
}

// delta below = f'(z) * (delta W^T), in the place that holds f'(z)
template <class L>
__device__ __forceinline__ void backward(real* memory) {
  typedef typename L::Backward T;
  typedef Side<BATCH, T::down, 1> Rows;
  typedef Side<L::inputs, T::across, 1> Columns;
  constexpr int words = L::outputs / WORD * WORD;
  const real *delta = memory + L::delta, *weights = memory + L::weights;
  real* out = memory + L::below_delta;
  for (int tile = threadIdx.x; tile < Rows::tiles * Columns::tiles; tile += THREADS) {
    const int down = tile / Columns::tiles, across = tile % Columns::tiles;
    const Rows rows(down);
    const Columns columns(across);
    real sum[T::down][T::across];
    clear<T>(sum);
#pragma unroll 2
    for (int k = 0; k < words; k += WORD)
      add_row_row<WORD, T>(sum, delta, L::delta_stride, weights, L::weights_stride, k, rows, columns);
#pragma unroll
    for (int k = words; k < L::outputs; ++k)
      add_row_row<1, T>(sum, delta, L::delta_stride, weights, L::weights_stride, k, rows, columns);
#pragma unroll
    for (int i = 0; i < T::down; ++i)
#pragma unroll
      for (int j = 0; j < T::across; ++j)
        if (rows.owns(down, i) && columns.owns(across, j))
          out[rows.first[i] * L::below_delta_stride + columns.first[j]] *= sum[i][j];
  }
}

// Change N neighbouring parameters of a row, and their slots, by their gradients.
template <class L, int N>
__device__ __forceinline__ void change(
    real* memory, const Slots& slots, int row, int column, const real* gradient, real decay, const real* numbers) {
  const int place = L::weights + row * L::weights_stride + column;
  Pack<N> parameter = pack<N>(memory + place), kept[SLOTS + 1];
  real* const far = slots.first + L::flat + row * L::outputs + column;  // in device memory rows have no padding
#pragma unroll
  for (int s = 0; s < SLOTS; ++s) {
    if (SLOTS_SHARED) kept[s] = pack<N>(memory + (s + 1) * WEIGHTS + place);
    else
#pragma unroll
      for (int j = 0; j < N; ++j)
        if (column + j < L::outputs) kept[s].at[j] = far[s * slots.stride + j];
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (column + j >= L::outputs) break;
    real own[SLOTS + 1];
#pragma unroll
    for (int s = 0; s < SLOTS; ++s) own[s] = kept[s].at[j];
    descend(parameter.at[j], gradient[j], decay, own, numbers);
#pragma unroll
    for (int s = 0; s < SLOTS; ++s) kept[s].at[j] = own[s];
  }
  pack<N>(memory + place) = parameter;
#pragma unroll
  for (int s = 0; s < SLOTS; ++s) {
    if (SLOTS_SHARED) pack<N>(memory + (s + 1) * WEIGHTS + place) = kept[s];
    else
#pragma unroll
      for (int j = 0; j < N; ++j)
        if (column + j < L::outputs) far[s * slots.stride + j] = kept[s].at[j];
  }
}

// d[W; b] = [a; 1]^T delta, applied at once; biases are not decayed.
template <class L>
__device__ __forceinline__ void update(real* memory, const Step& step, const Slots& slots) {
  typedef typename L::Update T;
  constexpr int height = group_of(T::down), width = group_of(T::across);
  typedef Side<L::inputs, T::down, height> Rows;
  typedef Side<L::outputs, T::across, width> Columns;
  const real *from = below<L>(memory, step), *delta = memory + L::delta;
  for (int tile = threadIdx.x; tile < Rows::tiles * Columns::tiles; tile += THREADS) {
    const int down = tile / Columns::tiles, across = tile % Columns::tiles;
    const Rows rows(down);
    const Columns columns(across);
    real sum[T::down][T::across];
    clear<T>(sum);
    add_outer<T>(sum, from, L::below_stride, delta, L::delta_stride, BATCH, rows, columns);
#pragma unroll
    for (int i = 0; i < T::down; ++i) {
      const int row = rows.first[i / height] + i % height;
      if (!rows.owns(down, i / height) || row >= L::inputs) continue;
#pragma unroll
      for (int g = 0; g < Columns::own; ++g)
        if (columns.owns(across, g))
          change<L, width>(memory, slots, row, columns.first[g], &sum[i][g * width], step.numbers[RATES + HYPER - 1],
                           step.numbers);
    }
  }
  if (BIAS)  // by the last threads: the first ones have the most tiles
    for (int c = THREADS - 1 - threadIdx.x; c < L::outputs; c += THREADS) {
      real sum = 0;
#pragma unroll 8
      for (int r = 0; r < BATCH; ++r) sum += delta[r * L::delta_stride + c];
      change<L, 1>(memory, slots, L::inputs, c, &sum, real(0), step.numbers);
    }
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
    for (int k = 0; k < Loss::records; ++k) step.records[r * Loss::records + k] = record[k];
  }
}

// Weights, and of the slots in shared memory the first PARTS - 1, in or out.
template <class L, bool IN, int PARTS>
__device__ __forceinline__ void carry(real* memory, real* global, offset stride) {
  for (int i = threadIdx.x; i < L::rows * L::outputs; i += THREADS) {
    const int place = L::weights + i / L::outputs * L::weights_stride + i % L::outputs;
#pragma unroll
    for (int s = 0; s < PARTS; ++s) {
      real &here = memory[s * WEIGHTS + place], &there = global[s * stride + L::flat + i];
      if (IN) here = there;
      else there = here;
    }
  }
}

// All layers, in or out; written after this text.
template <bool IN, int PARTS>
__device__ __forceinline__ void carry_net(real* memory, real* global, offset stride);
constexpr int IN_SHARED = 1 + (SLOTS_SHARED ? SLOTS : 0);  // weights, and slots beside them

// Begin to copy the numbers of a batch's rows.
__device__ __forceinline__ void fetch_rows(int* rows, const int* batch) {
  for (int r = threadIdx.x; r < BATCH; r += THREADS) copy_async(rows + r, batch + r);
}

// Begin to copy one batch's inputs and targets: a row by LANES neighbouring threads.
__device__ __forceinline__ void fetch_batch(
    real* inputs, target_type* targets, const int* rows, const real* x, const target_type* y) {
  for (int r = threadIdx.x / LANES; r < BATCH; r += THREADS / LANES) {
    const real* const row = x + (offset)rows[r] * Layer1::rows;
    for (int k = threadIdx.x % LANES; k < Layer1::inputs; k += LANES)
      copy_async(inputs + r * Layer1::below_stride + k, row + k);
  }
  for (int i = threadIdx.x; i < BATCH * TARGETS; i += THREADS)
    copy_async(targets + i, y + (offset)rows[i / TARGETS] * TARGETS + i % TARGETS);
}
