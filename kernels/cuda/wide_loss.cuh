// A loss over many scores: the scores of a sample are split over the threads of a column, whose results are joined in a
// fixed order. The formulas are those of losses.cuh, in which one thread has a whole sample.

// Joins one number of each of a column's threads; every thread of the block takes part and gets the result.
template <class real>
struct Column {
  real* shared;  // (PARTS, SAMPLES)
  int lane, part;

  template <class Two>
  __device__ __forceinline__ real joined(const real own, const Two two) const {
    __syncthreads();  // what was read of `shared` before is read
    shared[part * SAMPLES + lane] = own;
    __syncthreads();
    real all = shared[lane];
    for (int p = 1; p < PARTS; ++p) all = two(all, shared[p * SAMPLES + lane]);
    return all;
  }
  __device__ __forceinline__ real sum(const real own) const { return joined(own, Add()); }
  __device__ __forceinline__ real greatest(const real own) const { return joined(own, Greater()); }

  struct Add {
    __device__ __forceinline__ real operator()(const real a, const real b) const { return a + b; }
  };
  struct Greater {
    __device__ __forceinline__ real operator()(const real a, const real b) const { return b > a ? b : a; }
  };
};

// As Loss::step, of the classes part, part + PARTS and so on. A thread without a sample has a count of 0.
template <class real, class Loss>
struct Wide {
  static __device__ __forceinline__ void step(
      real* scores, int stride, int count, const real* target, real weight, real, real* record,
      const Column<real> column) {
    real loss = 0;
    for (int c = column.part; c < count; c += PARTS) {
      real& score = scores[(long long)c * stride];
      score = Loss::one(score, target[c], weight, loss);
    }
    record[0] = column.sum(loss);
  }
};

template <class real>
struct Wide<real, Softmax<real> > {
  static __device__ __forceinline__ void step(
      real* scores, int stride, int count, const int* target, real weight, real smoothing, real* record,
      const Column<real> column) {
    const int label = *target;
    real peak = column.part < count ? scores[(long long)column.part * stride] : real(0);
#pragma unroll 4
    for (int c = column.part; c < count; c += PARTS) {
      const real score = scores[(long long)c * stride];
      peak = score > peak ? score : peak;
    }
    peak = column.greatest(peak);
    real rest = 0, part = 0, own = count ? scores[(long long)label * stride] - peak : real(0);
#pragma unroll 4
    for (int c = column.part; c < count; c += PARTS) {
      const real below = scores[(long long)c * stride] - peak;
      rest += c == label ? real(0) : exp(below);
      part += below;
    }
    rest = column.sum(rest);
    part = column.sum(part);  // nobody writes a score before everybody has read
    const real share = smoothing / real(count), total = rest + exp(own), scale = weight / total;
#pragma unroll 4
    for (int c = column.part; c < count; c += PARTS) {
      real& score = scores[(long long)c * stride];
      score = c == label ? -rest * scale + weight * (smoothing - share) : exp(score - peak) * scale - weight * share;
    }
    if (smoothing > real(0)) {
      own = (real(1) - smoothing) * own + share * part;
      rest = total - exp(own);
    }
    record[0] = rest;
    record[1] = own;
  }
};

template <class real>
struct Wide<real, Svm<real> > {
  static __device__ __forceinline__ void step(
      real* scores, int stride, int count, const int* target, real weight, real margin, real* record,
      const Column<real> column) {
    const int label = *target;
    const real threshold = count ? scores[(long long)label * stride] - margin : real(0);
    real loss = 0, slope = 0;
#pragma unroll 4
    for (int c = column.part; c < count; c += PARTS) {
      if (c == label) continue;
      real& score = scores[(long long)c * stride];
      const real lead = score - threshold;
      if (!(lead <= real(0))) loss += lead;  // a NaN is counted, so that it is seen
      score = lead > real(0) ? weight : real(0);
      slope += score;
    }
    record[0] = column.sum(loss);
    slope = column.sum(slope);  // everybody has read the score of the label
    if (label % PARTS == column.part && count) scores[(long long)label * stride] = -slope;
  }
};

// Arguments as those of loss_step; a block has SAMPLES samples of one model.
extern "C" __global__ void wide_loss_step(
    int models, int scores_count, int batch, real* scores, const given_type* targets, const real* weights, int stride,
    real* records) {
  const int groups = (batch + SAMPLES - 1) / SAMPLES, lane = threadIdx.x % SAMPLES;
  const int first = blockIdx.x % groups * SAMPLES, count = scores_count;
  const bool inside = first + lane < batch;
  const long long model = blockIdx.x / groups, sample = inside ? first + lane : batch - 1;
  const long long i = model * batch + sample, size = (long long)models * batch;
  const Column<real> column = {reinterpret_cast<real*>(SHARED_MEMORY), lane, (int)threadIdx.x / SAMPLES};
  real record[Loss::records];
  TARGET
  Wide<real, Loss>::step(scores + model * count * batch + sample, batch, inside ? count : 0, target,
                         weights[model * stride + sample], OPTION, record, column);
  if (inside && column.part == 0)
    for (int k = 0; k < Loss::records; ++k) records[k * size + i] = record[k];
}
