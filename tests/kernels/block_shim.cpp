// Whole thread blocks on the host: every CUDA thread is a fiber, `__syncthreads` is a real barrier.
//
// Shared memory starts as NaN. Threads take turns in an order that the caller chooses; between two barriers each
// runs to its next barrier before another starts, so a missing barrier makes results depend on the order, or NaN.
// With late copies an asynchronous copy happens only when its thread waits for it, and the place holds NaN until then.
//
// A fiber is entered once, by setcontext, and then runs thread after thread; between stacks a jump is enough, which
// asks the system for nothing. Checked jumps would refuse another stack.
#undef _FORTIFY_SOURCE
#include "block_shim.hpp"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "guarded.hpp"

Position threadIdx{0}, blockIdx{0}, blockDim{0}, gridDim{0};
unsigned char* SHARED_MEMORY = nullptr;

namespace shim {
enum Result { FINISHED = 0, BARRIERS_DIFFER = 1 };

struct Copy { void* to; const void* from; size_t size; };
struct Fiber {
  jmp_buf here;  // where it left
  bool entered;
  char* stack;
  Copy* copies;  // asynchronous ones that nobody has waited for
  size_t n_copies, room;
  int line;  // of the barrier it waits at; 0 when it has returned
};
static constexpr size_t STACK = 1 << 17;

static Fiber* fibers = nullptr;
static unsigned n_fibers = 0;
static jmp_buf scheduler;
static unsigned current = 0;
static bool late_copies = false;
static void (*body)(void**) = nullptr;
static void** body_arguments = nullptr;

static void leave(int line) {
  Fiber& fiber = fibers[current];
  fiber.line = line;
  if (!_setjmp(fiber.here)) _longjmp(scheduler, 1);
}
void barrier(int line) { leave(line); }
static void entry() {
  for (;;) {
    body(body_arguments);
    leave(0);
  }
}

// Lets a fiber run until it leaves.
static void resume(Fiber& fiber) {
  if (_setjmp(scheduler)) return;
  if (fiber.entered) _longjmp(fiber.here, 1);
  fiber.entered = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack;
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
  setcontext(&context);
}

static void make_fibers(unsigned threads) {
  if (threads == n_fibers) return;
  for (unsigned thread = 0; thread < n_fibers; ++thread) { free(fibers[thread].stack); free(fibers[thread].copies); }
  free(fibers);
  fibers = (Fiber*)calloc(threads, sizeof(Fiber));
  n_fibers = threads;
  for (unsigned thread = 0; thread < threads; ++thread) fibers[thread].stack = (char*)malloc(STACK);
}

static void shuffle(unsigned* turn, unsigned count, unsigned long long& random) {
  for (unsigned last = count - 1; last > 0; --last) {
    random = random * 48271 % 2147483647;
    const unsigned other = (unsigned)(random % (last + 1)), kept = turn[last];
    turn[last] = turn[other];
    turn[other] = kept;
  }
}

// What waits at a barrier for ever does not go on.
static Result abandoned() {
  for (unsigned thread = 0; thread < n_fibers; ++thread) fibers[thread].entered = false;
  return BARRIERS_DIFFER;
}

// One block: sweeps from barrier to barrier, until all threads have returned.
static Result run_block(unsigned threads, unsigned order, unsigned* turn, unsigned long long& random) {
  for (unsigned k = 0; k < threads; ++k) turn[k] = order == 1 ? threads - 1 - k : k;
  for (unsigned thread = 0; thread < threads; ++thread) fibers[thread].n_copies = 0;
  for (;;) {
    if (order > 1) shuffle(turn, threads, random);
    for (unsigned k = 0; k < threads; ++k) {
      current = threadIdx.x = turn[k];
      resume(fibers[current]);
    }
    for (unsigned thread = 0; thread < threads; ++thread)
      if (fibers[thread].line != fibers[0].line) return abandoned();
    if (fibers[0].line == 0) return FINISHED;
  }
}

// In shared memory that the caller gives.
static Result run_blocks(unsigned blocks, unsigned threads, unsigned char* memory, size_t shared, unsigned order) {
  make_fibers(threads);
  unsigned* turn = (unsigned*)malloc(threads * sizeof(unsigned));
  unsigned long long random = order;
  SHARED_MEMORY = memory;
  blockDim.x = threads;
  gridDim.x = blocks;
  Result result = FINISHED;
  for (unsigned block = 0; block < blocks && result == FINISHED; ++block) {
    blockIdx.x = block;
    memset(memory, 0xff, shared);  // NaN in either precision, -1 as an integer
    result = run_block(threads, order, turn, random);
  }
  free(turn);
  return result;
}

// order: 0 ascending, 1 descending, n a new shuffle (seeded n) after every barrier.
int run(unsigned blocks, unsigned threads, size_t shared, unsigned order, bool late, void (*kernel)(void**),
        void** arguments) {
  late_copies = late;
  body = kernel;
  body_arguments = arguments;
  unsigned char* memory = (unsigned char*)malloc(shared);
  const Result result = run_blocks(blocks, threads, memory, shared, order);
  free(memory);
  return result;
}

// One launch whose arrays all lie in guarded memory. The file holds blocks, threads and shared bytes, then every
// argument as its size and its bytes.
int run_guarded(const char* path, bool at_end, int count, void (*kernel)(void**)) {
  late_copies = true;
  body = kernel;
  body_arguments = (void**)calloc((size_t)count, sizeof(void*));
  guarded::watch();
  guarded::File file(path);
  const long long blocks = file.number(), threads = file.number(), shared = file.number();
  for (int k = 0; k < count; ++k) {
    const size_t size = (size_t)file.number();
    body_arguments[k] = guarded::memory(size, at_end);
    file.read(body_arguments[k], size);
  }
  unsigned char* memory = (unsigned char*)guarded::memory((size_t)shared, at_end);
  return run_blocks((unsigned)blocks, (unsigned)threads, memory, (size_t)shared, 0);
}

void copy_async(void* to, const void* from, size_t size) {
  if (!late_copies) {
    memcpy(to, from, size);
    return;
  }
  memset(to, 0xff, size);
  Fiber& fiber = fibers[current];
  if (fiber.n_copies == fiber.room) {
    fiber.room = fiber.room ? 2 * fiber.room : 16;
    fiber.copies = (Copy*)realloc(fiber.copies, fiber.room * sizeof(Copy));
  }
  fiber.copies[fiber.n_copies++] = {to, from, size};
}

void wait_for_copies() {
  Fiber& fiber = fibers[current];
  for (size_t k = 0; k < fiber.n_copies; ++k) memcpy(fiber.copies[k].to, fiber.copies[k].from, fiber.copies[k].size);
  fiber.n_copies = 0;
}
}  // namespace shim
