// SPDX-License-Identifier: Apache-2.0
// What an operator does with a store beside serving it.
#pragma once

#include "ironcored/options.hpp"

namespace ironcore::ironcored {

/// Each says on standard output what it did and returns the exit code.
int run_check(const Options& options);
int run_backup(const Options& options);
int run_restore(const Options& options);
int run_keygen(const Options& options);

}  // namespace ironcore::ironcored
