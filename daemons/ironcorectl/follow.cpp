// SPDX-License-Identifier: Apache-2.0
// A list and a watch on one object.
#include "ironcorectl/follow.hpp"

#include "ironcorectl/conditions.hpp"

#include <algorithm>

namespace ironcore::ctl {

Result<bool> follow(Session& session, const store::Key& key, Instant deadline, const Look& look) {
  IRONCORE_TRY(store::Store* const store, session.store());
  store::Query query{.kind = key.kind, .namespace_ = key.namespace_};
  IRONCORE_TRY(query.fields, store::FieldSelector::parse("metadata.name=" + key.name));
  for (;;) {
    IRONCORE_TRY(const auto page, store->list(query));
    std::optional<api::Object> now;
    if (!page.objects.empty()) now = page.objects.front();
    IRONCORE_TRY(const bool is_done, look(now ? &*now : nullptr));
    if (is_done) return true;

    auto opened = store->watch(query, page.revision);
    if (!opened && opened.error().code() == ErrorCode::gone) continue;
    IRONCORE_TRY(const auto watch, std::move(opened));
    for (;;) {
      const Instant tick = session.clock().now() + std::chrono::seconds(1);
      auto changes = watch->next(std::min(tick, deadline), session.stop());
      if (!changes && changes.error().code() == ErrorCode::gone) break;
      IRONCORE_CHECK(changes);
      for (const store::Change& change : *changes) {
        if (change.type == store::Change::Type::bookmark) continue;
        now = change.type == store::Change::Type::deleted ? std::nullopt : change.object;
        IRONCORE_TRY(const bool is_done_now, look(now ? &*now : nullptr));
        if (is_done_now) return true;
      }
      if (session.stop().stop_requested()) return Error(ErrorCode::cancelled, "interrupted");
      if (session.clock().now() >= deadline) return false;
      if (changes->empty()) {
        IRONCORE_TRY(const bool is_done_now, look(now ? &*now : nullptr));
        if (is_done_now) return true;
      }
    }
  }
}

std::string state_text(const api::Object& object) {
  std::string text = api::field_text(object, "status.state").value_or("");
  for (const auto& condition : conditions_of(object)) {
    if (condition.type != "Ready" || condition.status == "True" || condition.message.empty()) continue;
    text += (text.empty() ? "" : ": ") + condition.message;
  }
  return text;
}

}  // namespace ironcore::ctl
