// The scores of a net with few outputs, its loss, and weight * dL/dscores, of SAMPLES samples a block.
//
// SAMPLES neighbouring threads have a part of the depth of the sums; the PARTS parts are added in their order.

// below (M, `below_size`): activations of the layer below, (inputs, B) and more; weights (M, `parameters`): from the
// layer's [W; b] on, (inputs + 1, OUTPUTS); targets as for loss_step; row_weights (M, B) lie `stride` apart.
// scores (M, OUTPUTS, B), narrowed the same in the type of products, records (n, M, B).
extern "C" __global__ void scores_step(
    int models, int inputs, int below_size, int batch, int parameters, int biased, const operand* below,
    const operand* weights, const given_type* targets, const real* row_weights, int stride, real* scores,
    operand* narrowed, real* records) {
  real* const shared = reinterpret_cast<real*>(SHARED_MEMORY);
  const int groups = (batch + SAMPLES - 1) / SAMPLES, lane = threadIdx.x % SAMPLES, part = threadIdx.x / SAMPLES;
  const long long model = blockIdx.x / groups;
  const int first = blockIdx.x % groups * SAMPLES, sample = first + lane;
  below += model * below_size + (sample < batch ? sample : batch - 1);
  weights += model * parameters;
  real sum[OUTPUTS];
#pragma unroll
  for (int c = 0; c < OUTPUTS; ++c) sum[c] = 0;
  const int end = (int)((long long)inputs * (part + 1) / PARTS);
#pragma unroll 4
  for (int k = (int)((long long)inputs * part / PARTS); k < end; ++k) {
    const real x = widen(below[(long long)k * batch]);
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) sum[c] += x * widen(weights[(long long)k * OUTPUTS + c]);
  }
#pragma unroll
  for (int c = 0; c < OUTPUTS; ++c) shared[(part * OUTPUTS + c) * SAMPLES + lane] = sum[c];
  __syncthreads();
  for (int i = threadIdx.x; i < OUTPUTS * SAMPLES; i += blockDim.x) {
    real total = biased ? widen(weights[(long long)inputs * OUTPUTS + i / SAMPLES]) : real(0);
    for (int p = 0; p < PARTS; ++p) total += shared[p * OUTPUTS * SAMPLES + i];
    shared[i] = total;
  }
  __syncthreads();
  if (threadIdx.x < SAMPLES && sample < batch) {
    const int count = OUTPUTS;
    const long long i = model * batch + sample, size = (long long)models * batch;
    real record[Loss::records];
    TARGET
    Loss::step(shared + lane, SAMPLES, count, target, row_weights[model * stride + sample], OPTION, record);
    for (int k = 0; k < Loss::records; ++k) records[k * size + i] = record[k];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < OUTPUTS * SAMPLES; i += blockDim.x) {
    const int at = first + i % SAMPLES;
    if (at >= batch) continue;
    const long long place = (model * OUTPUTS + i / SAMPLES) * batch + at;
    scores[place] = shared[i];
    if (NARROWS) narrowed[place] = narrow(shared[i]);
  }
}
