// SPDX-License-Identifier: Apache-2.0
// Changes of a dataplane's configuration as they stand in files.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ironcore/network/configuration.hpp"
#include "ironcorectl/manifest_files.hpp"

namespace ironcore::ctl {

/// All changes of some files, in their order, and where each of them was written.
struct DataplaneBatch {
  struct Origin {
    std::size_t document = 0;
    std::optional<std::size_t> item;  ///< of a List
  };
  std::vector<Document> documents;
  std::vector<network::Change> changes;
  std::vector<Origin> origins;  ///< of each change

  /// An error about the batch (`changes[3].prefix`), with the places in the files: `net.yaml:7:11: prefix: …`. The first ones, and how many more there are.
  Error located(const Error& error) const;
};

/// Files as large as one batch may be: 100,000 routes and more. `invalid` names every place that is wrong, or says that there is nothing in them.
Result<DataplaneBatch> read_batch(Session& session, const std::vector<std::string>& files);

}  // namespace ironcore::ctl
