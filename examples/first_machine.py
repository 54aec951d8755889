#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The first machine from Python: objects in a store, and a machine on a simulated hypervisor.

Run it against a build with `PYTHONPATH=build/bindings/python examples/first_machine.py`.
"""
import gc
import tempfile
import time

import ironcore


def objects():
    """The store: create, read, patch, watch; an object is the dict of its JSON form."""
    # [store]
    store = ironcore.Store.memory()
    store.create({
        "apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "MachineClass",
        "metadata": {"name": "small"}, "capabilities": {"cpu": "1", "memory": "256Mi"},
    })
    machine = store.create({
        "apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "Machine",
        "metadata": {"name": "web-1", "namespace": "default"},
        "spec": {"machineClassRef": {"name": "small"}},
    })
    store.patch("machine", "web-1", {"spec": {"power": "Off"}})
    # [store]
    assert machine["spec"]["power"] == "On", "power defaults to On"
    assert store.get("machine", "web-1")["spec"]["power"] == "Off"
    assert store.get("machine", "web-1")["metadata"]["generation"] == 2

    watch = store.watch("machines", revision=int(machine["metadata"]["resourceVersion"]))
    kind, _, changed = watch.next(timeout=10)[0]
    assert (kind, changed["metadata"]["name"]) == ("modified", "web-1")

    try:
        store.create({"apiVersion": "compute.ironcore.dev/v1alpha1", "kind": "Machine",
                      "metadata": {"name": "web-2", "namespace": "default"},
                      "spec": {"machineClasRef": {"name": "small"}}})
        raise AssertionError("a misspelled field must be refused")
    except ironcore.Error as error:
        assert error.code == "invalid" and "machineClassRef" in error.message, error.message
        print("refused, as it should be:", error.message)
    return watch


def machine_on_a_host(directory):
    """compute.Host on its own, without a store."""
    host = ironcore.Host(ironcore.Hypervisor.sim(), directory)
    spec = ironcore.MachineSpec(ironcore.Uid.random(), "web-1", vcpus=1, memory_bytes=256 << 20,
                                disks=[ironcore.Disk("data", "vda", ironcore.LocalDisk(size_bytes=64 << 20))])
    status = until("running", lambda: host.apply(spec))
    print("web-1 is", status.state)
    spec.power = "off"
    print("web-1 is", until("shutdown", lambda: host.apply(spec)).state)
    print("web-1 is", until("terminated", lambda: host.remove(spec.uid, grace=1)).state)
    return host


def until(state, step):
    """Repeats a level-triggered step until the machine is in `state`."""
    end = time.monotonic() + 60
    while (status := step()).state != state:
        if time.monotonic() > end:
            raise TimeoutError(f"waited for {state}, is {status}")
        time.sleep(0.05)
    return status


def dropped_in_any_order(directory):
    """A watch outlives its store object, a host its hypervisor object."""
    store = ironcore.Store.sqlite(directory + "/objects.db")
    watch = store.watch("namespaces")
    del store
    gc.collect()
    kinds = [(kind, changed and changed["metadata"]["name"]) for kind, _, changed in watch.next(timeout=10)]
    assert kinds == [("added", "default"), ("bookmark", None)], kinds

    hypervisor = ironcore.Hypervisor.sim()
    host = ironcore.Host(hypervisor, directory + "/other")
    del hypervisor
    gc.collect()
    assert host.status(ironcore.Uid.random()).state == "terminated"


def values():
    assert ironcore.Quantity("1Gi") == ironcore.Quantity("1024Mi")
    assert str(ironcore.Quantity("1500m")) == "1500m"
    assert ironcore.Prefix("10.0.0.0/8").contains(ironcore.IpAddress("10.1.2.3"))
    assert len({ironcore.MacAddress("02:00:00:00:00:01"), ironcore.MacAddress("02-00-00-00-00-01")}) == 1


if __name__ == "__main__":
    values()
    objects()
    with tempfile.TemporaryDirectory() as folder:
        machine_on_a_host(folder)
        dropped_in_any_order(folder)
    print("done")
