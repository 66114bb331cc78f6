// Losses of one sample over its classes, written once for every kernel. The formulas are those of nets/losses.py.
//
// `step` finds the score of class c at scores[c * stride], turns the scores into weight * dL/dscores in place and
// leaves in `record` what `value` needs to tell the sample's loss.

template <class real>
struct Softmax {
  typedef int target_type;
  static constexpr int records = 2;

  // p_c for c != y, and minus their sum for c = y: no 1 - p, nothing cancels. With smoothing e the targets are
  // t_c = (1 - e) [c = y] + e/C, dL/ds = p - t, and the record is that of an own score of sum t_c (s_c - peak).
  static __device__ __forceinline__ void step(
      real* scores, int stride, int count, const int* target, real weight, real smoothing, real* record) {
    const int label = *target;
    real peak = scores[0], rest = 0, part = 0;
    for (int c = 1; c < count; ++c) {
      const real score = scores[c * stride];
      peak = score > peak ? score : peak;
    }
    real own = scores[label * stride] - peak;
    for (int c = 0; c < count; ++c) {
      const real below = scores[c * stride] - peak, power = exp(below);
      scores[c * stride] = power;
      if (c != label) rest += power;
      part += below;
    }
    const real share = smoothing / real(count), total = rest + exp(own), scale = weight / total;
    for (int c = 0; c < count; ++c) scores[c * stride] = scores[c * stride] * scale - weight * share;
    scores[label * stride] = -rest * scale + weight * (smoothing - share);
    if (smoothing > real(0)) {
      own = (real(1) - smoothing) * own + share * part;
      rest = total - exp(own);
    }
    record[0] = rest;
    record[1] = own;
  }

  // -ln p_y; log1p keeps losses of 1e-48 that a plain log would call 0.
  static __device__ __forceinline__ real value(const real* record) {
    return log1p(record[0] + expm1(record[1])) - record[1];
  }
};

template <class real>
struct Svm {
  typedef int target_type;
  static constexpr int records = 1;

  // Sum over c != y of max(0, s_c - s_y + margin); exactly at the margin the gradient is 0.
  static __device__ __forceinline__ void step(
      real* scores, int stride, int count, const int* target, real weight, real margin, real* record) {
    const int label = *target;
    const real threshold = scores[label * stride] - margin;
    real loss = 0, slope = 0;
    for (int c = 0; c < count; ++c) {
      const real lead = scores[c * stride] - threshold;
      const bool active = c != label && lead > real(0);
      if (c != label && !(lead <= real(0))) loss += lead;  // a NaN is counted, so that it is seen
      scores[c * stride] = active ? weight : real(0);
      slope += scores[c * stride];
    }
    scores[label * stride] = -slope;
    record[0] = loss;
  }

  static __device__ __forceinline__ real value(const real* record) { return record[0]; }
};
