// SPDX-License-Identifier: Apache-2.0
// StandardOutput: what a program prints, and whether it got where it should.
#pragma once

#include <memory>
#include <streambuf>

#include "ironcore/base/result.hpp"

namespace ironcore::program {

/// While it lives, std::cout writes through it, so that a full disk and a reader that left are noticed: a stream by itself
/// forgets why it failed. Make one at a time. Thread: one.
class StandardOutput {
 public:
  StandardOutput();
  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;
  ~StandardOutput();

  /// Hands over what was printed. After the first error everything is dropped and each flush says so again: `cancelled` when
  /// nobody reads any more (`… | head -1`), which is found out without writing too; else why it cannot be written.
  Result<void> flush();
  bool is_reader_gone() const noexcept;

 private:
  class Buffer;
  std::unique_ptr<Buffer> buffer_;
  std::streambuf* before_;
};

/// The exit code of a program that did its part with `code`: whatever it printed has to arrive, and whoever stopped reading has
/// seen enough.
int finish_output(StandardOutput& output, int code);

}  // namespace ironcore::program
