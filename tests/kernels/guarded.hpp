// Memory with nothing beside it: a step beyond an array ends the program, which says beyond which.
#pragma once
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

namespace guarded {
static constexpr size_t GUARD = 1 << 24;
static constexpr int ARRAYS_MAX = 64;
struct Range { const char *from, *to; };
static Range ranges[ARRAYS_MAX];  // arrays with their guards, in the order in which they were asked for
static int n_ranges = 0;

// `size` bytes between two stretches that nobody may touch, close to the second one or to the first.
static void* memory(size_t size, bool at_end) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page * page;
  char* all = (char*)mmap(nullptr, pages + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (all == MAP_FAILED || n_ranges == ARRAYS_MAX) abort();
  if (pages && mprotect(all + GUARD, pages, PROT_READ | PROT_WRITE)) abort();
  ranges[n_ranges++] = {all, all + pages + 2 * GUARD};
  return all + GUARD + (at_end ? pages - size : 0);
}

static void caught(int, siginfo_t* what, void*) {
  const char* at = (const char*)what->si_addr;
  char text[64] = "a step into nowhere\n";
  for (int k = 0; k < n_ranges; ++k)
    if (ranges[k].from <= at && at < ranges[k].to) snprintf(text, sizeof text, "a step beyond array %d\n", k);
  if (write(2, text, strlen(text)) < 0) abort();
  _exit(9);
}

// From here on a forbidden access is told on a stack of its own, since the fibers' are small.
static void watch() {
  static char stack[1 << 16];
  stack_t place = {};
  place.ss_sp = stack;
  place.ss_size = sizeof stack;
  sigaltstack(&place, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = caught;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

struct File {
  FILE* handle;
  explicit File(const char* path) : handle(fopen(path, "rb")) { if (!handle) exit(3); }
  ~File() { fclose(handle); }
  void read(void* to, size_t size) { if (fread(to, 1, size, handle) != size) exit(3); }
  long long number() { long long value = 0; read(&value, sizeof value); return value; }
};
}  // namespace guarded
