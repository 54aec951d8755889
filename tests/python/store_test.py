# SPDX-License-Identifier: Apache-2.0
"""ironcore.Store from Python: what is read can be written back, to the last digit and with every member."""
import decimal
import unittest

import ironcore

MACHINE = {"apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "w", "namespace": "default"},
           "spec": {"machineClassRef": {"name": "small"}}}


class Update(unittest.TestCase):
    def setUp(self):
        self.store = ironcore.Store.memory()
        self.store.create(MACHINE)

    def test_what_was_read_can_be_written_back(self):
        numbers = '{"float":0.1,"exact":123456789012345678901234567890,"small":1234567890.123456789,"huge":1e99999999999,"one":1,"big":1e400,"list":[null,true]}'
        self.store.patch("machine", "w", f'{{"spec":{{"later":{numbers}}}}}')
        machine = self.store.get("machine", "w")
        later = machine["spec"]["later"]
        self.assertEqual(later["float"], 0.1)
        self.assertIs(type(later["float"]), float)
        self.assertEqual(later["exact"], 123456789012345678901234567890)
        self.assertEqual(later["small"], decimal.Decimal("1234567890.123456789"))
        self.assertEqual(later["list"], [None, True])
        machine["metadata"]["labels"] = {"a": "b"}
        updated = self.store.update(machine)
        self.assertEqual(updated["metadata"]["labels"], {"a": "b"})
        self.assertEqual(updated["spec"]["later"], later)
        self.assertEqual(updated["metadata"]["generation"], machine["metadata"]["generation"])

    def test_members_that_the_stored_object_does_not_have_are_refused(self):
        self.store.patch("machine", "w", {"spec": {"later": 1}})
        machine = self.store.get("machine", "w")
        machine["spec"]["latter"] = 2
        with self.assertRaises(ironcore.Error) as refused:
            self.store.update(machine)
        self.assertEqual([(field, reason) for field, reason, _ in refused.exception.fields], [("spec.latter", "unknown")])
        with self.assertRaises(ironcore.Error):
            self.store.create({**MACHINE, "metadata": {"name": "v", "namespace": "default"}, "later": 1})

    def test_what_json_cannot_say_is_refused(self):
        for value in (float("inf"), float("nan"), decimal.Decimal("NaN"), {1: 2}, object(), b"x"):
            with self.assertRaises(TypeError):
                self.store.patch("machine", "w", {"spec": {"later": value}})
        deep = []
        deep.append(deep)
        with self.assertRaises(ValueError):
            self.store.patch("machine", "w", {"spec": {"later": deep}})

    def test_numbers_of_every_type_are_written(self):
        self.store.patch("machine", "w", {"spec": {"later": [1, -2.5, 1e-7, decimal.Decimal("1.50"), decimal.Decimal("1E+3"), ("a", None), True]}})
        self.assertEqual(self.store.get("machine", "w")["spec"]["later"], [1, -2.5, 1e-7, 1.5, 1000.0, ["a", None], True])

    def test_the_kinds_of_storage_have_their_fields_and_rules(self):
        storage = {"apiVersion": "storage.ironcore.dev/v1alpha1"}
        fast = self.store.create({**storage, "kind": "VolumeClass", "metadata": {"name": "fast"}, "capabilities": {"tps": "200Mi", "iops": 1000}})
        self.assertEqual(fast["resizePolicy"], "Static")
        volume = self.store.create({**storage, "kind": "Volume", "metadata": {"name": "data", "namespace": "default"},
                                    "spec": {"volumeClassRef": {"name": "fast"}, "resources": {"storage": "5Gi"}}})
        self.assertEqual(volume["status"]["state"], "Pending")
        larger = {"spec": {"resources": {"storage": "6Gi"}}}
        with self.assertRaises(ironcore.Error) as refused:
            self.store.patch("volume", "data", larger)
        self.assertEqual([field for field, _, _ in refused.exception.fields], ["spec.resources[storage]"])
        self.store.patch("volumeclass", "fast", {"resizePolicy": "ExpandOnly"})
        self.assertEqual(self.store.patch("volume", "data", larger)["spec"]["resources"], {"storage": "6Gi"})
        for kind, spec in (("VolumeSnapshot", {"volumeRef": {"name": "data"}}), ("Bucket", {"bucketClassRef": {"name": "standard"}})):
            made = self.store.create({**storage, "kind": kind, "metadata": {"name": "x", "namespace": "default"}, "spec": spec})
            self.assertEqual((made["spec"], made["status"]["state"]), (spec, "Pending"))
        for kind in ("VolumePool", "BucketPool"):
            self.store.create({**storage, "kind": kind, "metadata": {"name": "ceph"}, "spec": {"providerID": "ceph://1"}})
            self.assertEqual(self.store.get(kind, "ceph")["status"]["state"], "Pending")


if __name__ == "__main__":
    unittest.main(verbosity=2)
