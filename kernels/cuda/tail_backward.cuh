// What goes back through the last layer of a net with few outputs: its gradient, and dL/dz of the layer below.
//
// A warp has a unit of the layer below, its threads samples; their parts are added in the order of the threads.

// below (M, rows, B): activations, with a row of ones where rows = inputs + 1; weights and gradient (M, `parameters`):
// from the layer's [W; b] on; delta (M, OUTPUTS, B); z, masks and delta_below (M, inputs, B)
extern "C" __global__ void tail_step(
    int inputs, int rows, int batch, int parameters, const operand* below, const operand* weights,
    const operand* delta, const real* z, const real* masks, real* gradient, operand* delta_below) {
NUMBERS
  real* const tile = reinterpret_cast<real*>(SHARED_MEMORY);
  real* const parts = tile + OUTPUTS * TILE;
  const int groups = (rows + UNITS - 1) / UNITS, lane = threadIdx.x % LANES, own = threadIdx.x / LANES;
  const long long model = blockIdx.x / groups;
  const int first = blockIdx.x % groups * UNITS, unit = first + own;
  const bool inside = unit < rows, hidden = unit < inputs;
  below += (model * rows + (inside ? unit : 0)) * batch;
  weights += model * parameters;
  gradient += model * parameters;
  delta += model * OUTPUTS * batch;
  real weight[OUTPUTS], sum[OUTPUTS];
#pragma unroll
  for (int c = 0; c < OUTPUTS; ++c) {
    weight[c] = hidden ? widen(weights[(long long)unit * OUTPUTS + c]) : real(0);
    sum[c] = 0;
  }
  for (int begin = 0; begin < batch; begin += TILE) {
    __syncthreads();  // what was read of the tile before is read
    for (int i = threadIdx.x; i < OUTPUTS * TILE; i += blockDim.x) {
      const int sample = begin + i % TILE;
      tile[i] = sample < batch ? widen(delta[(long long)(i / TILE) * batch + sample]) : real(0);
    }
    __syncthreads();
    const int end = begin + TILE < batch ? begin + TILE : batch;
    for (int sample = begin + lane; inside && sample < end; sample += LANES) {
      const real x = widen(below[sample]);
      real in_upstream = 0;
#pragma unroll
      for (int c = 0; c < OUTPUTS; ++c) {
        const real d = tile[c * TILE + sample - begin];
        sum[c] += x * d;
        in_upstream += weight[c] * d;
      }
      if (!hidden) continue;
      const long long place = (model * inputs + unit) * batch + sample;
      const real in_x = z[place];
      real result;
      if (MASKED) in_upstream *= masks[place];
      VALUE
      { SLOPE }
      (void)in_x;
      delta_below[place] = narrow(result);
    }
  }
#pragma unroll
  for (int c = 0; c < OUTPUTS; ++c) parts[(own * OUTPUTS + c) * (LANES + 1) + lane] = sum[c];
  __syncthreads();
  for (int i = threadIdx.x; i < UNITS * OUTPUTS && first + i / OUTPUTS < rows; i += blockDim.x) {
    real total = 0;
    for (int k = 0; k < LANES; ++k) total += parts[i * (LANES + 1) + k];
    gradient[(long long)(first + i / OUTPUTS) * OUTPUTS + i % OUTPUTS] = total;
  }
}
