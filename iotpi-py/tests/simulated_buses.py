"""I2C and 1-Wire buses of CircuitPython with one simulated device: real drivers read it as they read a chip."""

from __future__ import annotations

from collections.abc import Mapping


class SimulatedBus:
    """An I2C bus. A subclass keeps what was written, and answers reads."""

    def __init__(self) -> None:
        self.unplugged = False

    def receive(self, data: bytes) -> None:
        """Takes the bytes of a write."""
        raise NotImplementedError

    def answer(self, length: int) -> bytes:
        """Returns the bytes of a read."""
        raise NotImplementedError

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def writeto(self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None) -> None:
        self._check()
        # An empty write looks for the device.
        if data := bytes(buffer[start:end]):
            self.receive(data)

    def readfrom_into(self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None) -> None:
        self._check()
        length = len(buffer[start:end])
        buffer[start : start + length] = self.answer(length).ljust(length, b"\0")[:length]

    def writeto_then_readfrom(
        self,
        address: int,
        out_buffer: bytes,
        in_buffer: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        self.writeto(address, out_buffer, start=out_start, end=out_end)
        self.readfrom_into(address, in_buffer, start=in_start, end=in_end)

    def _check(self) -> None:
        if self.unplugged:
            raise OSError(121, "Remote I/O error")


class ByteRegisters(SimulatedBus):
    """A device whose registers have one byte; a longer read continues with the next ones.

    Attributes:
        fixed: Registers that a write does not change, such as those with a status.
        mask: The bits of the first byte that are the number of a register.
    """

    def __init__(
        self, registers: Mapping[int, bytes], fixed: Mapping[int, int] | None = None, mask: int = 0xFF
    ) -> None:
        super().__init__()
        self.memory = bytearray(512)
        self.fixed = fixed or {}
        self.mask = mask
        self._register = 0
        for register, content in registers.items():
            self.memory[register : register + len(content)] = content

    def receive(self, data: bytes) -> None:
        self._register = data[0] & self.mask
        self.memory[self._register : self._register + len(data) - 1] = data[1:]

    def answer(self, length: int) -> bytes:
        registers = range(self._register, self._register + length)
        return bytes(self.fixed.get(register, self.memory[register]) for register in registers)


class WordRegisters(SimulatedBus):
    """A device whose registers have two bytes each."""

    def __init__(self, registers: Mapping[int, bytes], fixed: Mapping[int, bytes] | None = None) -> None:
        super().__init__()
        self.registers = dict(registers)
        self.fixed = fixed or {}
        self._register = 0

    def receive(self, data: bytes) -> None:
        self._register = data[0]
        if len(data) > 1:
            self.registers[self._register] = data[1:]

    def answer(self, length: int) -> bytes:
        return self.fixed.get(self._register, self.registers.get(self._register, b""))


class Commands(SimulatedBus):
    """A device that answers commands; a command without an answer of its own has the one of ``b""``."""

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self.answers = answers
        self._command = b""

    def receive(self, data: bytes) -> None:
        self._command = data

    def answer(self, length: int) -> bytes:
        return self.answers.get(self._command, self.answers.get(b"", b""))


class Ds18b20Bus:
    """A 1-Wire bus with one DS18B20 that has finished its conversion."""

    def __init__(self, scratchpad: bytes) -> None:
        self.scratchpad = scratchpad + bytes([_one_wire_crc(scratchpad)])
        self._command = b""

    def reset(self, required: bool = False) -> bool:
        return False

    def write(self, buffer: bytes, *, start: int = 0, end: int | None = None) -> None:
        self._command = bytes(buffer[start:end])

    def readinto(self, buffer: bytearray, *, start: int = 0, end: int | None = None) -> None:
        length = len(buffer[start:end])
        answer = self.scratchpad if self._command == b"\xbe" else b"\x01" * length
        buffer[start : start + length] = answer[:length]

    @staticmethod
    def crc8(data: bytes) -> int:
        return _one_wire_crc(data)


def sensirion(*words: int) -> bytes:
    """Words with the checksum of Sensirion's chips after each."""
    parts = [word.to_bytes(2, "big") for word in words]
    return b"".join(part + bytes([_sensirion_crc(part)]) for part in parts)


def _sensirion_crc(data: bytes) -> int:
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x31 if crc & 0x80 else 0)) & 0xFF
    return crc


def _one_wire_crc(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def little_endian(*words: int) -> bytes:
    return b"".join((word & 0xFFFF).to_bytes(2, "little") for word in words)


def big_endian(*words: int) -> bytes:
    return b"".join((word & 0xFFFF).to_bytes(2, "big") for word in words)


def measured_20_bits(value: int) -> bytes:
    return (value << 4).to_bytes(3, "big")


def bme280() -> SimulatedBus:
    """The compensation parameters and raw values of the example in the BMP280's datasheet, section 3.12."""
    return ByteRegisters(
        {
            0xD0: b"\x60",
            0x88: little_endian(27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000),
            0xA1: b"\x4b",
            0xE1: little_endian(370) + b"\x00\x13\x27\x03\x1e",
            0xF7: measured_20_bits(415148) + measured_20_bits(519888) + b"\x7a\x00",
        }
    )


def mpu6050() -> SimulatedBus:
    return ByteRegisters(
        {0x75: b"\x68", 0x3B: big_endian(0, 0, 16384), 0x41: big_endian(-3920), 0x43: big_endian(655, 0, 0)},
        fixed={0x6B: 0x01},
    )
