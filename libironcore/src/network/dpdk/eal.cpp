// SPDX-License-Identifier: Apache-2.0
// DPDK's environment abstraction layer as an object.
#include <fcntl.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string_view>

#include "device_words.hpp"
#include "errors.hpp"
#include "ironcore/network/dpdk.hpp"

namespace ironcore::network::dpdk {

namespace {

// DPDK keeps exactly one environment per process and cannot start it again; these say what became of it and who owns it.
std::mutex registration;
std::optional<EalOptions> started_with;
bool has_failed = false;
bool is_owned = false;
// DPDK writes its log to the stream that it was given for as long as the process lives, from any of its threads.
std::mutex log_mutex;
Log* current_log = nullptr;
std::string last_complaint;

LogLevel level_of(int dpdk) {
  if (dpdk <= static_cast<int>(RTE_LOG_ERR)) return LogLevel::error;
  if (dpdk == static_cast<int>(RTE_LOG_WARNING)) return LogLevel::warning;
  return dpdk == static_cast<int>(RTE_LOG_DEBUG) ? LogLevel::debug : LogLevel::info;
}

ssize_t write_log(void*, const char* text, std::size_t bytes) {
  const int level = rte_log_cur_msg_loglevel();
  std::string_view rest(text, bytes);
  std::lock_guard guard(log_mutex);
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) continue;
    if (level <= static_cast<int>(RTE_LOG_ERR)) last_complaint = line;
    if (current_log != nullptr) current_log->write(level_of(level), line, {{"from", "dpdk"}});
  }
  return static_cast<ssize_t>(bytes);
}

void set_log(Log* log) {
  std::lock_guard guard(log_mutex);
  current_log = log;
}

Result<void> start(const EalOptions& options) {
  cpu_set_t before;
  const int failed = ::pthread_getaffinity_np(::pthread_self(), sizeof before, &before);
  if (failed != 0) return errno_error(failed, "read the processors of this thread");
  int processor = 0;
  while (!CPU_ISSET(processor, &before)) ++processor;

  std::vector<std::string> words = {"ironcore",
                                    "--no-telemetry",
                                    "--lcores=0@" + std::to_string(processor),
                                    "--file-prefix=" + options.prefix,
                                    "-m",
                                    std::to_string(options.memory_mib)};
  if (options.memory == Memory::ordinary) {
    words.insert(words.end(), {"--no-huge", "--no-shconf"});
  } else {
    words.emplace_back("--in-memory");
  }
  if (options.cards.empty()) words.emplace_back("--no-pci");
  for (const auto& card : options.cards) words.insert(words.end(), {"-a", card});
  std::vector<char*> arguments;
  arguments.reserve(words.size());
  for (auto& word : words) arguments.push_back(word.data());

  cookie_io_functions_t functions{};
  functions.write = write_log;
  FILE* stream = ::fopencookie(nullptr, "w", functions);
  if (stream == nullptr || rte_openlog_stream(stream) != 0) return errno_error(errno, "open DPDK's log");
  {
    std::lock_guard guard(log_mutex);
    last_complaint.clear();
  }
  const int result = rte_eal_init(static_cast<int>(arguments.size()), arguments.data());
  const int error = rte_errno;
  ::pthread_setaffinity_np(::pthread_self(), sizeof before, &before);
  // Made although nobody shares anything; goes if nobody else has put something into it.
  if (const char* directory = rte_eal_get_runtime_dir(); directory != nullptr) ::rmdir(directory);
  if (result >= 0) return {};
  std::string complaint;
  {
    std::lock_guard guard(log_mutex);
    complaint = last_complaint;
  }
  const std::string advice = options.memory == Memory::huge_pages
                                 ? "; are there huge pages for " + std::to_string(options.memory_mib) +
                                       " MiB (/proc/sys/vm/nr_hugepages)? Without them use ordinary memory"
                                 : "; is there so much memory, and may this process lock it?";
  const bool is_memory = error == ENOMEM || complaint.find("memory") != std::string::npos ||
                         complaint.find("hugepage") != std::string::npos;
  return Error(is_memory ? ErrorCode::exhausted : ErrorCode::unavailable,
               "start DPDK: " + (complaint.empty() ? std::string(rte_strerror(error)) : complaint) + advice);
}

}  // namespace

Result<std::unique_ptr<Eal>> Eal::create(const EalOptions& options, Log& log) {
  IRONCORE_CHECK(check(options));
  std::lock_guard guard(registration);
  if (is_owned)
    return Error(ErrorCode::already_exists, "DPDK has one environment per process: share the one that exists");
  if (has_failed)
    return Error(ErrorCode::wrong_state,
                 "DPDK failed to start in this process and cannot try again: start the process anew");
  if (started_with && *started_with != options)
    return Error(ErrorCode::wrong_state,
                 "DPDK was started with other options in this process: use the same ones, or start the process anew");
  set_log(&log);
  if (!started_with) {
    if (auto result = start(options); !result) {
      set_log(nullptr);
      has_failed = true;
      return std::move(result).error();
    }
    started_with = options;
  }
  is_owned = true;
  return std::unique_ptr<Eal>(new Eal);
}

Eal::~Eal() {
  std::lock_guard guard(registration);
  set_log(nullptr);
  is_owned = false;
}

}  // namespace ironcore::network::dpdk
