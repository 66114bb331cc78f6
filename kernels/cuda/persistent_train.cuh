// One thread block trains one model: a whole chunk of steps in one launch.

// What a block is told of its model and of the chunk: eight numbers of 32 bits.
struct Task {
  int model;     // its place among `capacity` models; the others stay untouched
  int batch;     // its first batch among those of its block
  int step;      // the step of its epoch that the chunk begins with
  int per_epoch; // steps of an epoch
  int last;      // rows of an epoch's last batch that are not padding
  int epoch;     // the epoch that the chunk begins in
  int every;     // epochs from one snapshot to the next; 0: none
  int rate;      // the place of its first step's rates
};

// state (1 + SLOTS, capacity, PARAMETERS)   parameters, then the optimizer's slots
// x (R, Layer1::rows), y (R, TARGETS)       the pooled rows; x ends with ones where layers have biases
// rows (blocks, batches, BATCH)             numbers of the rows of every batch
// rates (capacity, span, RATES), hyper (capacity, HYPER)    the optimizer's numbers
// row_weights (blocks, steps, BATCH)        read where ROW_WEIGHTS
// records (blocks, steps, BATCH, Loss::records) scratch;  losses (blocks, steps): weighted sum of the rows' losses
// snapshots (blocks, kept, PARAMETERS)      parameters at the ends of epochs, but for one that ends the chunk
extern "C" __global__ void __launch_bounds__(THREADS, 1) train(
    const Task* tasks, int steps, int capacity, int batches, int span, int kept, real* state, const real* x,
    const target_type* y, const int* rows, const real* rates, const real* hyper, const real* row_weights,
    real* records, double* losses, real* snapshots) {
  real* const memory = reinterpret_cast<real*>(SHARED_MEMORY);
  target_type* const targets = reinterpret_cast<target_type*>(memory + TARGETS_AT);
  int* const numbers = reinterpret_cast<int*>(targets + 2 * BATCH * TARGETS);

  const Task task = tasks[blockIdx.x];
  const offset first = (offset)blockIdx.x * steps, stride = (offset)capacity * PARAMETERS;
  real* const own = state + (offset)task.model * PARAMETERS;
  const Slots slots = {own + stride, stride};
  rows += ((offset)blockIdx.x * batches + task.batch) * BATCH;
  rates += ((offset)task.model * span + task.rate) * RATES;
  records += first * BATCH * Loss::records;
  hyper += (offset)task.model * HYPER;
  snapshots += (offset)blockIdx.x * kept * PARAMETERS;

  carry_net<true, IN_SHARED>(memory, own, stride);
  fetch_rows(numbers, rows);
  if (steps > 1) fetch_rows(numbers + BATCH, rows + BATCH);
  wait_for_copies();
  __syncthreads();
  fetch_batch(memory + INPUTS_AT, targets, numbers, x, y);

  int at = task.step, epoch = task.epoch;
  for (int s = 0; s < steps; ++s) {
    const int here = s % 2, next = 1 - here;
    const bool ends = ++at == task.per_epoch;
    Step step;
    step.inputs = memory + INPUTS_AT + here * INPUTS;
    step.targets = targets + here * BATCH * TARGETS;
    step.row_weights = row_weights + (first + s) * BATCH;
    step.records = records + (offset)s * BATCH * Loss::records;
    step.valid = ends ? task.last : BATCH;
    for (int i = 0; i < RATES; ++i) step.numbers[i] = rates[(offset)s * RATES + i];
    for (int i = 0; i < HYPER; ++i) step.numbers[RATES + i] = hyper[i];

    wait_for_copies();
    __syncthreads();  // the batch is there, and the weights of the step before
    if (s + 1 < steps)
      fetch_batch(memory + INPUTS_AT + next * INPUTS, targets + next * BATCH * TARGETS, numbers + next * BATCH, x, y);
    if (s + 2 < steps) fetch_rows(numbers + here * BATCH, rows + (offset)(s + 2) * BATCH);
    train_step(memory, step, slots);
    if (ends) {
      at = 0;
      ++epoch;
      if (task.every && epoch % task.every == 0 && s + 1 < steps) {
        __syncthreads();
        carry_net<false, 1>(memory, snapshots, 0);
        snapshots += PARAMETERS;
      }
    }
  }

  __syncthreads();
  carry_net<false, IN_SHARED>(memory, own, stride);
  // The steps' losses, which no step waited for.
  for (int s = threadIdx.x; s < steps; s += THREADS) {
    const int valid = (task.step + s + 1) % task.per_epoch == 0 ? task.last : BATCH;
    double sum = 0;
    for (int r = 0; r < valid; ++r) {
      const real weight = ROW_WEIGHTS ? row_weights[(first + s) * BATCH + r] : real(1);
      if (weight > real(0)) sum += (double)(weight * Loss::value(records + ((offset)s * BATCH + r) * Loss::records));
    }
    losses[first + s] = sum;
  }
}
