// One thread block measures one set of parameters on some rows: sums of losses and of hits.

// What a block is told: three numbers of 32 bits.
struct Look {
  int parameters;  // which set
  int first;       // its first row's place in `rows`
  int count;       // its rows
};

// One sample's hit: 1 where the scores tell the right class, or the squared distance of values.
__device__ __forceinline__ double hit(const real* scores, const target_type* target, int count) {
  if (HITS == SQUARES) {
    double sum = 0;
    for (int c = 0; c < count; ++c) {
      const double apart = (double)scores[c] - (double)target[c];
      sum += apart * apart;
    }
    return sum;
  }
  if (HITS == SIGN) return (scores[0] > real(0)) == (target[0] > target_type(0)) ? 1.0 : 0.0;
  int best = 0, right = 0;
  for (int c = 1; c < count; ++c) {
    if (scores[c] > scores[best]) best = c;
    if (HITS == LARGEST && target[c] > target[right]) right = c;
  }
  if (HITS == CODE) right = (int)target[0];
  return best == right ? 1.0 : 0.0;
}

// looks (blocks), rows: numbers of rows of x and y, parameters (sets, PARAMETERS)
// found (blocks, 2, BATCH): of every BATCH-th row from each of the first ones on, the sums of losses and of hits
extern "C" __global__ void __launch_bounds__(THREADS, 1) measure(
    const Look* looks, const int* rows, const real* parameters, const real* x, const target_type* y, double* found) {
  real* const memory = reinterpret_cast<real*>(SHARED_MEMORY);
  target_type* const targets = reinterpret_cast<target_type*>(memory + TARGETS_AT);
  int* const numbers = reinterpret_cast<int*>(targets + 2 * BATCH * TARGETS);
  const Look look = looks[blockIdx.x];
  Step step;
  step.inputs = memory + INPUTS_AT;
  rows += look.first;
  found += (offset)blockIdx.x * 2 * BATCH;
  carry_net<true, 1>(memory, const_cast<real*>(parameters) + (offset)look.parameters * PARAMETERS, 0);
  for (int r = threadIdx.x; r < 2 * BATCH; r += THREADS) found[r] = 0;

  for (int begin = 0; begin < look.count; begin += BATCH) {
    for (int r = threadIdx.x; r < BATCH; r += THREADS) {
      const int last = look.count - 1;
      numbers[r] = rows[begin + r < last ? begin + r : last];
    }
    __syncthreads();  // what was read of the batch before is read
    fetch_batch(memory + INPUTS_AT, targets, numbers, x, y);
    wait_for_copies();
    __syncthreads();
    forward_pass(memory, step);
    for (int r = threadIdx.x; r < BATCH && begin + r < look.count; r += THREADS) {
      real record[Loss::records];
      real* const scores = memory + LastLayer::delta + r * LastLayer::delta_stride;
      const target_type* const target = targets + r * TARGETS;
      const double hits = hit(scores, target, LastLayer::outputs);
      Loss::step(scores, 1, LastLayer::outputs, target, real(1), LOSS_OPTION, record);
      found[r] += (double)Loss::value(record);
      found[BATCH + r] += hits;
    }
  }
}
