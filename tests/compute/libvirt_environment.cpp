// SPDX-License-Identifier: Apache-2.0
// Starting the private libvirtd of a program.
#include "libvirt_environment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace ironcore::tests {

namespace {

LibvirtEnvironment* environment = nullptr;  // of this test program

/// One line of a pipe, without its end.
std::string read_line(int fd) {
  std::string line;
  char c = 0;
  while (::read(fd, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

}  // namespace

LibvirtEnvironment& LibvirtEnvironment::get() {
  if (environment == nullptr) throw std::logic_error("no libvirtd was started");
  return *environment;
}

std::unique_ptr<LibvirtEnvironment> LibvirtEnvironment::start(const std::string& script, const std::string& layout,
                                                              std::string& missing) {
  std::unique_ptr<LibvirtEnvironment> out(new LibvirtEnvironment);
  out->reference_ = "oci:" + layout;
  auto reference = image::Reference::parse(out->reference_);
  auto cache = image::Cache::open({.directory = out->directory_.path() / "images"}, out->clock_, out->log_);
  if (!reference || !cache) {
    missing = (reference ? cache.error() : reference.error()).message();
    return nullptr;
  }
  auto image = (*cache)->ensure(*reference, image::Platform::this_machine());
  if (!image) {
    missing = "guest image: " + image.error().message() + " (make it with tests/support/guest-image)";
    return nullptr;
  }
  out->image_ = *image;

  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const std::string directory = out->directory_.path();
  out->holder_ = ::fork();
  if (out->holder_ == 0) {
    ::dup2(pipe[1], STDOUT_FILENO);
    ::execl(script.c_str(), script.c_str(), "run", directory.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(pipe[1]);
  out->uri_ = read_line(pipe[0]);
  ::close(pipe[0]);
  if (out->uri_.empty()) {
    int status = 0;
    ::waitpid(out->holder_, &status, 0);
    out->holder_ = -1;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 77) {
      std::ifstream log(out->directory_.path() / "libvirtd.log");
      std::ostringstream text;
      text << log.rdbuf();
      throw std::runtime_error("libvirtd did not start: " + text.str());
    }
    missing = "libvirtd cannot be started here";
    return nullptr;
  }
  out->loop_ = compute::libvirt::EventLoop::create().value();
  out->thread_ = std::jthread([loop = out->loop_.get()](std::stop_token stop) { loop->run(stop); });
  environment = out.get();
  return out;
}

LibvirtEnvironment::~LibvirtEnvironment() {
  environment = nullptr;
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (holder_ <= 0) return;
  ::kill(holder_, SIGKILL);  // the kernel ends the whole process namespace with it
  ::waitpid(holder_, nullptr, 0);
}

void LibvirtEnvironment::signal_daemon(int signal) const {
  DIR* proc = ::opendir("/proc");
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t process = std::atoi(entry->d_name);
    if (process <= 0) continue;
    std::ifstream file("/proc/" + std::to_string(process) + "/cmdline", std::ios::binary);
    const std::string arguments{std::istreambuf_iterator<char>(file), {}};
    if (arguments ==
        std::string("libvirtd") + '\0' + "-f" + '\0' + (directory_.path() / "libvirtd.conf").string() + '\0') {
      ::kill(process, signal);
    }
  }
  ::closedir(proc);
}

bool LibvirtEnvironment::wait_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = clock_.now() + limit;
  while (!done()) {
    if (clock_.now() > end) return false;
    sleep_for(clock_, std::chrono::milliseconds(50), {});  // leaves the processor to the guest
  }
  return true;
}

}  // namespace ironcore::tests
