// SPDX-License-Identifier: Apache-2.0
// Starting the Ceph cluster of a program.
#include "ceph_cluster.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace ironcore::tests {

namespace {

/// A child that runs a program, its standard output on `output` unless that is -1.
pid_t spawn(const std::vector<std::string>& command, int output) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& one : command) arguments.push_back(const_cast<char*>(one.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (output >= 0) ::dup2(output, STDOUT_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  if (child < 0) throw std::runtime_error("cannot start " + command.front());
  return child;
}

int exit_code(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 256> part{};
  while (true) {
    const ssize_t size = ::read(fd, part.data(), part.size());
    if (size <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(size));
  }
}

}  // namespace

CephCluster::CephCluster(std::string script) : script_(std::move(script)) {
  std::string name = (std::filesystem::temp_directory_path() / "ceph-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
  directory_ = name;
}

std::unique_ptr<CephCluster> CephCluster::start(const std::string& script, const std::vector<std::string>& options) {
  std::unique_ptr<CephCluster> out(new CephCluster(script));
  std::vector<std::string> command{script, "run", out->directory_.string()};
  command.insert(command.end(), options.begin(), options.end());
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  out->holder_ = spawn(command, pipe[1]);
  ::close(pipe[1]);
  // One line, and then the end of the file: the holder of a cluster has nothing to say after it.
  const bool serves = !read_all(pipe[0]).empty();
  ::close(pipe[0]);
  if (!serves) {
    const int code = exit_code(std::exchange(out->holder_, -1));
    if (code == 77) return nullptr;
    throw std::runtime_error("the Ceph cluster did not start: see above");
  }
  std::ifstream env(out->directory_ / "env");
  for (std::string line; std::getline(env, line);) {
    const std::size_t equals = line.find('=');
    out->env_[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return out;
}

CephCluster::~CephCluster() {
  if (holder_ > 0) {
    ::kill(holder_, SIGTERM);
    ::waitpid(holder_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void CephCluster::run(std::vector<std::string> verb_and_arguments) const {
  verb_and_arguments.insert(verb_and_arguments.begin() + 1, directory_.string());
  verb_and_arguments.insert(verb_and_arguments.begin(), script_);
  if (exit_code(spawn(verb_and_arguments, -1)) != 0) {
    throw std::runtime_error(verb_and_arguments[1] + " of the Ceph cluster failed: see above");
  }
}

}  // namespace ironcore::tests
