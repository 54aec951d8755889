// SPDX-License-Identifier: Apache-2.0
// Starting the private libvirtd of a program.
#include "libvirt_environment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
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

void check(int result, const char* what) {
  if (result != 0) throw std::runtime_error(std::string("cannot ") + what);
}

/// `directory` and all in it; symbolic links are left alone.
void give_away(const std::filesystem::path& directory, const passwd& user) {
  check(::lchown(directory.c_str(), user.pw_uid, user.pw_gid), "give a directory away");
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
    check(::lchown(file.path().c_str(), user.pw_uid, user.pw_gid), "give a file away");
  }
}

const passwd& unprivileged_user() {
  const passwd* user = ::getpwnam("nobody");
  if (user == nullptr) throw std::runtime_error("there is no user nobody");
  return *user;
}

}  // namespace

LibvirtEnvironment& LibvirtEnvironment::get() {
  if (environment == nullptr) throw std::logic_error("no libvirtd was started");
  return *environment;
}

std::unique_ptr<LibvirtEnvironment> LibvirtEnvironment::start(const std::string& script, const std::string& layout,
                                                              std::string& missing, Instance instance) {
  std::unique_ptr<LibvirtEnvironment> out(new LibvirtEnvironment);
  const std::string directory = out->directory_.path();
  out->reference_ = "oci:" + layout;
  if (instance == Instance::session && std::filesystem::exists(layout)) {
    // The user of the session may not be able to go where this program lies.
    std::filesystem::copy(layout, out->directory_.path() / "layout", std::filesystem::copy_options::recursive);
    out->reference_ = "oci:" + directory + "/layout";
  }
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

  const char* option = nullptr;
  if (instance == Instance::network) option = "--network";
  if (instance == Instance::session) option = "--session";
  if (instance == Instance::session && ::geteuid() == 0) give_away(directory, unprivileged_user());
  std::array<int, 2> pipe{};
  std::array<int, 2> life{};
  check(::pipe2(pipe.data(), O_CLOEXEC), "make a pipe");
  check(::pipe2(life.data(), O_CLOEXEC), "make a pipe");
  out->holder_ = ::fork();
  if (out->holder_ == 0) {
    ::dup2(life[0], STDIN_FILENO);
    ::dup2(pipe[1], STDOUT_FILENO);
    ::execl(script.c_str(), script.c_str(), "run", directory.c_str(), option, nullptr);
    ::_exit(127);
  }
  ::close(pipe[1]);
  ::close(life[0]);
  out->life_ = UniqueFd(life[1]);
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
  if (instance == Instance::session) out->become_user();
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
  life_.reset();             // for a holder that is still root's, whom we may not kill any more
  ::kill(holder_, SIGKILL);  // the kernel ends the whole process namespace with it
  ::waitpid(holder_, nullptr, 0);
}

void LibvirtEnvironment::become_user() {
  const std::string home = directory_.path();
  check(::setenv("HOME", home.c_str(), 1), "set HOME");
  check(::setenv("XDG_RUNTIME_DIR", (home + "/run").c_str(), 1), "set XDG_RUNTIME_DIR");
  check(::setenv("LIBVIRT_AUTOSTART", "0", 1), "set LIBVIRT_AUTOSTART");  // a daemon that libvirt starts outlives us
  for (const char* name : {"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}) ::unsetenv(name);
  if (::geteuid() != 0) return;
  const passwd& user = unprivileged_user();
  check(::setgroups(0, nullptr), "leave groups");
  check(::setresgid(user.pw_gid, user.pw_gid, user.pw_gid), "change the group");
  check(::setresuid(user.pw_uid, user.pw_uid, user.pw_uid), "change the user");
  check(::prctl(PR_SET_DUMPABLE, 1), "be a process like others of this user");
}

std::vector<pid_t> LibvirtEnvironment::daemons() const {
  const std::string wanted =
      std::string("libvirtd") + '\0' + "-f" + '\0' + (directory_.path() / "libvirtd.conf").string() + '\0';
  std::vector<pid_t> found;
  DIR* proc = ::opendir("/proc");
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t process = std::atoi(entry->d_name);
    if (process <= 0) continue;
    std::ifstream file("/proc/" + std::to_string(process) + "/cmdline", std::ios::binary);
    const std::string arguments{std::istreambuf_iterator<char>(file), {}};
    if (arguments == wanted) found.push_back(process);
  }
  ::closedir(proc);
  return found;
}

void LibvirtEnvironment::signal_daemon(int signal) const {
  for (const pid_t process : daemons()) ::kill(process, signal);
}

bool LibvirtEnvironment::run_in_network(const std::string& command) const {
  const std::string enter = "nsenter --net=/proc/" + std::to_string(daemons().at(0)) + "/ns/net ";
  return std::system((enter + command).c_str()) == 0;
}

std::filesystem::path LibvirtEnvironment::network_interfaces() const {
  return root() / "sys/class/net";
}

void LibvirtEnvironment::use_namespace_library(const std::filesystem::path& library) {
  const auto copy = directory_.path() / "rbd-namespace.so";
  std::filesystem::copy_file(library, copy);
  check(::chmod(copy.c_str(), 0644), "let QEMU read a library");
  check(::chmod(directory_.path().c_str(), 0755), "let QEMU into a directory");
  namespace_library_ = copy;
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
