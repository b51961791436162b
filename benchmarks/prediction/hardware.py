"""Devices and what joins them, in their vendors' numbers."""

import dataclasses

GB = 1e9
TERA = 1e12


@dataclasses.dataclass(frozen=True)
class System:
    """Devices joined by an interconnect.

    Attributes:
        name: of the device and of what joins its hosts.
        peak: floating-point operations per second of a device in bfloat16, dense.
        memory: bytes of a device.
        within_host: bytes per second that a device can send to others in its host.
        between_hosts: bytes per second at which a ring over many hosts can run, which is what all
            network ports of one host send together, or what one device can send in a torus.
        devices_a_host: devices that `within_host` joins.
        most_devices: more of them the interconnect does not join.
        source: where the numbers stand.
    """

    name: str
    peak: float
    memory: float
    within_host: float
    between_hosts: float
    devices_a_host: int
    most_devices: int
    source: str

    def bandwidth(self, devices: int) -> float:
        """Bytes per second that each of so many devices can send in a ring."""
        within = devices <= self.devices_a_host
        return self.within_host if within else min(self.within_host, self.between_hosts)


UNLIMITED = 10**9
A100 = "NVIDIA A100 datasheet (312 TFLOP/s, 80 GB, NVLink 600 GB/s both ways together)"
H100 = "NVIDIA H100 datasheet (989 TFLOP/s, 80 GB, NVLink 900 GB/s both ways together)"


def a100(network: str, ports: int, gigabits: int, source: str) -> System:
    """Hosts of 8 A100 with NVSwitch, connected by `ports` network ports per host."""
    bandwidth = ports * gigabits / 8 * GB
    name = f"8 x A100 per host, {network}"
    return System(name, 312 * TERA, 80 * GB, 300 * GB, bandwidth, 8, UNLIMITED, f"{A100}; {source}")


SYSTEMS = (
    a100("25 GbE", 1, 25, "one port of 25 Gb/s per host"),
    a100("100 GbE", 1, 100, "one port of 100 Gb/s per host"),
    a100("8 x InfiniBand HDR", 8, 200, "DGX A100 datasheet (8 ports of 200 Gb/s)"),
    System(
        "8 x H100 per host, 8 x InfiniBand NDR",
        989 * TERA,
        80 * GB,
        450 * GB,
        8 * 400 / 8 * GB,
        8,
        UNLIMITED,
        f"{H100}; DGX H100 datasheet (8 ports of 400 Gb/s)",
    ),
    System(
        "TPU v4, ICI",
        275 * TERA,
        32 * 2**30,
        1.1e15 / 4096,
        1.1e15 / 4096,
        1,
        4096,
        "cloud.google.com/tpu/docs/v4 (275 TFLOP/s, 32 GiB, all-reduce 1.1 PB/s per pod of 4,096)",
    ),
    System(
        "TPU v5e, ICI",
        197 * TERA,
        16e9,
        51.2e12 / 256,
        51.2e12 / 256,
        1,
        256,
        "cloud.google.com/tpu/docs/v5e (197 TFLOP/s, 16 GB, all-reduce 51.2 TB/s per pod of 256)",
    ),
)
