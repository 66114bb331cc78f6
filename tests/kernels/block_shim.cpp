// Whole thread blocks on the host: every CUDA thread is a fiber, `__syncthreads` is a real barrier.
//
// Shared memory starts as NaN. Threads take turns in an order that the caller chooses; between two barriers each
// runs to its next barrier before another starts, so a missing barrier makes results depend on the order, or NaN.
// With late copies an asynchronous copy happens only when its thread waits for it, and the place holds NaN until then.
#include "block_shim.hpp"

#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

Position threadIdx{0}, blockIdx{0}, blockDim{0}, gridDim{0};
unsigned char* SHARED_MEMORY = nullptr;

namespace shim {
enum Result { FINISHED = 0, BARRIERS_DIFFER = 1 };

struct Copy { void* to; const void* from; size_t size; };
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[STACK]};
  std::vector<Copy> copies;
  int line = 0;  // of the barrier it waits at; 0 when it has returned
  static constexpr size_t STACK = 1 << 17;
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static unsigned current = 0;
static bool late_copies = false;
static void (*body)(void**) = nullptr;
static void** body_arguments = nullptr;

static void leave(int line) {
  const unsigned me = current;
  fibers[me].line = line;
  swapcontext(&fibers[me].context, &scheduler);
}
void barrier(int line) { leave(line); }
static void entry() {
  body(body_arguments);
  leave(0);
}

static void start(unsigned thread) {
  Fiber& fiber = fibers[thread];
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = Fiber::STACK;
  fiber.context.uc_link = &scheduler;
  fiber.copies.clear();
  makecontext(&fiber.context, entry, 0);
}

// One block: sweeps from barrier to barrier, until all threads have returned.
static Result run_block(unsigned threads, unsigned order, std::minstd_rand& random) {
  std::vector<unsigned> turn(threads);
  std::iota(turn.begin(), turn.end(), 0u);
  if (order == 1) std::reverse(turn.begin(), turn.end());
  for (unsigned thread = 0; thread < threads; ++thread) start(thread);
  for (;;) {
    if (order > 1) std::shuffle(turn.begin(), turn.end(), random);
    for (unsigned thread : turn) {
      current = threadIdx.x = thread;
      swapcontext(&scheduler, &fibers[thread].context);
    }
    for (const Fiber& fiber : fibers)
      if (fiber.line != fibers[0].line) return BARRIERS_DIFFER;
    if (fibers[0].line == 0) return FINISHED;
  }
}

// order: 0 ascending, 1 descending, n a new shuffle (seeded n) after every barrier.
int run(unsigned blocks, unsigned threads, size_t shared, unsigned order, bool late, void (*kernel)(void**),
                  void** arguments) {
  std::unique_ptr<unsigned char[]> memory(new unsigned char[shared]);
  std::minstd_rand random(order);
  if (fibers.size() != threads) fibers = std::vector<Fiber>(threads);
  SHARED_MEMORY = memory.get();
  late_copies = late;
  body = kernel;
  body_arguments = arguments;
  blockDim.x = threads;
  gridDim.x = blocks;
  for (unsigned block = 0; block < blocks; ++block) {
    blockIdx.x = block;
    std::memset(memory.get(), 0xff, shared);  // NaN in either precision, -1 as an integer
    const Result result = run_block(threads, order, random);
    if (result != FINISHED) return result;
  }
  return FINISHED;
}

void copy_async(void* to, const void* from, size_t size) {
  if (!late_copies) {
    std::memcpy(to, from, size);
    return;
  }
  std::memset(to, 0xff, size);
  fibers[current].copies.push_back({to, from, size});
}

void wait_for_copies() {
  for (const Copy& copy : fibers[current].copies) std::memcpy(copy.to, copy.from, copy.size);
  fibers[current].copies.clear();
}
}  // namespace shim
