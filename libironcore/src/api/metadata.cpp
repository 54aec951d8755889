// SPDX-License-Identifier: Apache-2.0
// Unknown members of JSON objects.
#include "ironcore/api/metadata.hpp"

namespace ironcore::api {

Unknown::Unknown(const Unknown& other) {
  if (other.members_) members_ = std::make_unique<Members>(*other.members_);
}

Unknown& Unknown::operator=(const Unknown& other) {
  if (this != &other) *this = Unknown(other);
  return *this;
}

const Unknown::Members& Unknown::members() const noexcept {
  static const Members none;
  return members_ ? *members_ : none;
}

void Unknown::set(std::string name, std::string json) {
  if (!members_) members_ = std::make_unique<Members>();
  members_->insert_or_assign(std::move(name), std::move(json));
}

void Unknown::remove(std::string_view name) {
  if (!members_) return;
  if (const auto found = members_->find(name); found != members_->end()) members_->erase(found);
}

}  // namespace ironcore::api
