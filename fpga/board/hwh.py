"""The .hwh that pynq reads: which parts a design has, where their registers are, which clocks run.

As small as pynq allows: the processing system, the DMA, the LEDs and the engine. Vivado writes a
far larger one for a real design; fpga/driver/handoff.py mends that for pynq 4.0.0.
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from fpga.driver.handoff import FREQUENCY
from fpga.errors import BitstreamError
from fpga.isa import registers

SYSTEM = "processing_system7"
NAMED = (
    ("ID", registers.ID), ("VERSION", registers.VERSION), ("SHAPE", registers.SHAPE),
    ("W_WORDS", registers.W_WORDS), ("P_D_WORDS", registers.P_D_WORDS),
    ("X_WORDS", registers.X_WORDS), ("A_B_WORDS", registers.A_B_WORDS),
    *((f"BUILD{place}", offset) for place, offset in enumerate(registers.BUILD)),
    ("CONTROL", registers.CONTROL), ("STATUS", registers.STATUS), ("ERROR", registers.ERROR),
    ("MODEL", registers.MODEL), ("CYCLES_LOW", registers.CYCLES_LOW),
    ("CYCLES_HIGH", registers.CYCLES_HIGH), ("ARRAY_CYCLES", registers.ARRAY_CYCLES),
    ("SAMPLES", registers.SAMPLES), ("STALL_INPUT", registers.STALL_INPUT),
    ("STALL_OUTPUT", registers.STALL_OUTPUT), ("BEATS_IN", registers.BEATS_IN),
    ("BEATS_OUT", registers.BEATS_OUT),
)  # fmt: skip


def make(
    part: str, *, name: str = "inferry", clock_mhz: float = 100.0, dma: str = "axi_dma_0"
) -> bytes:
    """Of a simulated design on a Zynq-7000. FCLK0 is 1000 MHz divided twice. dma: where it is, as
    hier_0/axi_dma_0 for a design that has it in a block of its own."""
    first, second = _divisors(clock_mhz)
    device, _, package = part.removeprefix("xc").partition("clg")
    package = "clg" + package.split("-")[0]
    clocks = {
        "PCW_FCLK0_PERIPHERAL_DIVISOR0": first, "PCW_FCLK0_PERIPHERAL_DIVISOR1": second,
        "PCW_FPGA_FCLK0_ENABLE": 1, "PCW_FCLK0_PERIPHERAL_CLKSRC": "IO PLL",
    }  # fmt: skip
    for number in (1, 2, 3):
        clocks |= {
            f"PCW_FCLK{number}_PERIPHERAL_DIVISOR0": 10, f"PCW_FCLK{number}_PERIPHERAL_DIVISOR1": 1,
            f"PCW_FPGA_FCLK{number}_ENABLE": 0, f"PCW_FCLK{number}_PERIPHERAL_CLKSRC": "IO PLL",
        }  # fmt: skip
    clocks[FREQUENCY] = f"{clock_mhz:.6f}"
    modules = [_system(clocks, _instance(dma)), _dma(dma), _leds(), _engine()]
    text = (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
        '<EDKSYSTEM EDWVERSION="1.2" TIMESTAMP="Thu Jan  1 00:00:00 2026" VIVADOVERSION="2022.1">\n'
        f'  <SYSTEMINFO ARCH="zynq" BOARD="" DEVICE={quoteattr(device)} NAME={quoteattr(name)}'
        f' PACKAGE={quoteattr(package)} SPEEDGRADE="-1"/>\n'
        "  <EXTERNALPORTS/>\n  <EXTERNALINTERFACES/>\n  <MODULES>\n"
        + "".join(modules) + "  </MODULES>\n</EDKSYSTEM>\n"
    )  # fmt: skip
    return text.encode()


def _divisors(clock_mhz: float) -> tuple[int, int]:
    for second in range(1, 64):
        first = 1000 / clock_mhz / second
        if first == round(first) and 1 <= first <= 63:
            return int(first), second
    raise BitstreamError(f"a clock of {clock_mhz} MHz is no whole part of 1000 MHz")


def _instance(path: str) -> str:
    """As Vivado names what lies in a block."""
    return path.replace("/", "_")


def _module(
    path: str, vlnv: str, kind: str, parameters: dict[str, object], inside: str, *, ip: str = ""
) -> str:
    lines = "".join(
        f"        <PARAMETER NAME={quoteattr(key)} VALUE={quoteattr(str(value))}/>\n"
        for key, value in parameters.items()
    )
    version = vlnv.rsplit(":", 1)[1]
    mark = 'IS_PL="FALSE"' if kind == SYSTEM else 'MODCLASS="PERIPHERAL"'
    return (
        f'    <MODULE COREREVISION="1" FULLNAME="/{path}" HWVERSION="{version}"'
        f' INSTANCE="{_instance(path)}" IPTYPE="{ip or "PERIPHERAL"}" IS_ENABLE="1"'
        f" {mark}"
        f' MODTYPE="{kind}" VLNV="{vlnv}">\n'
        f"{inside}      <PARAMETERS>\n{lines}      </PARAMETERS>\n"
        "      <PORTS/>\n    </MODULE>\n"
    )


def _system(clocks: dict[str, object], dma: str) -> str:
    ranges = "".join(
        f'        <MEMRANGE ADDRESSBLOCK="{block}" BASENAME="C_BASEADDR" BASEVALUE="0x{base:08X}"'
        f' HIGHNAME="C_HIGHADDR" HIGHVALUE="0x{base + registers.SPAN_BYTES - 1:08X}"'
        f' INSTANCE="{instance}" IS_DATA="TRUE" IS_INSTRUCTION="TRUE" '
        f'MASTERBUSINTERFACE="M_AXI_GP0"'
        f' MEMTYPE="REGISTER" SLAVEBUSINTERFACE="{bus}"/>\n'
        for instance, block, base, bus in (
            (dma, "Reg", registers.DMA_BASE, "S_AXI_LITE"),
            ("leds_gpio", "Reg", registers.LEDS_BASE, "S_AXI"),
            ("engine_0", "reg0", registers.ENGINE_BASE, "s_axil"),
        )
    )
    inside = (
        "      <BUSINTERFACES>\n"
        '        <BUSINTERFACE BUSNAME="ps7_0_axi_periph" NAME="M_AXI_GP0" TYPE="MASTER"'
        ' VLNV="xilinx.com:interface:aximm:1.0"/>\n'
        '        <BUSINTERFACE BUSNAME="axi_mem_intercon" NAME="S_AXI_HP0" TYPE="SLAVE"'
        ' VLNV="xilinx.com:interface:aximm:1.0">\n'
        "        </BUSINTERFACE>\n      </BUSINTERFACES>\n"
        f"      <MEMORYMAP>\n{ranges}      </MEMORYMAP>\n"
    )
    return _module(
        f"{SYSTEM}_0", f"xilinx.com:ip:{SYSTEM}:5.5", SYSTEM,
        clocks, inside,
    )  # fmt: skip


def _slave(name: str) -> str:
    return (
        f'        <BUSINTERFACE BUSNAME="ps7_0_axi_periph" NAME="{name}" TYPE="SLAVE"'
        ' VLNV="xilinx.com:interface:aximm:1.0"/>\n'
    )


def _dma(path: str) -> str:
    inside = (
        "      <BUSINTERFACES>\n"
        + _slave("S_AXI_LITE")
        + "".join(
            f'        <BUSINTERFACE BUSNAME="axi_mem_intercon" NAME="{name}" TYPE="MASTER"'
            ' VLNV="xilinx.com:interface:aximm:1.0"/>\n'
            for name in ("M_AXI_MM2S", "M_AXI_S2MM")
        )
        + "      </BUSINTERFACES>\n"
    )
    parameters: dict[str, object] = {
        "c_include_sg": 0, "c_sg_length_width": 26, "c_include_mm2s": 1, "c_include_s2mm": 1,
        "c_include_mm2s_dre": 0, "c_include_s2mm_dre": 0, "c_m_axi_mm2s_data_width": 64,
        "c_m_axi_s2mm_data_width": 64, "c_mm2s_burst_size": 16, "c_s2mm_burst_size": 16,
        "c_addr_width": 32, "C_BASEADDR": f"0x{registers.DMA_BASE:08X}",
        "C_HIGHADDR": f"0x{registers.DMA_BASE + registers.SPAN_BYTES - 1:08X}",
    }  # fmt: skip
    return _module(path, "xilinx.com:ip:axi_dma:7.1", "axi_dma", parameters, inside)


def _leds() -> str:
    inside = f"      <BUSINTERFACES>\n{_slave('S_AXI')}      </BUSINTERFACES>\n"
    parameters: dict[str, object] = {
        "C_GPIO_WIDTH": 4, "C_ALL_OUTPUTS": 1, "C_IS_DUAL": 0,
        "C_BASEADDR": f"0x{registers.LEDS_BASE:08X}",
        "C_HIGHADDR": f"0x{registers.LEDS_BASE + registers.SPAN_BYTES - 1:08X}",
    }  # fmt: skip
    return _module("leds_gpio", "xilinx.com:ip:axi_gpio:2.0", "axi_gpio", parameters, inside)


def _engine() -> str:
    fields = "".join(
        f'          <REGISTER NAME="{name}">\n'
        f'            <PROPERTY NAME="DESCRIPTION" VALUE="{name}"/>\n'
        f'            <PROPERTY NAME="ADDRESS_OFFSET" VALUE="{offset}"/>\n'
        '            <PROPERTY NAME="SIZE" VALUE="32"/>\n'
        f'            <PROPERTY NAME="ACCESS" VALUE="{_access(name)}"/>\n'
        "            <FIELDS/>\n          </REGISTER>\n"
        for name, offset in NAMED
    )
    inside = (
        "      <ADDRESSBLOCKS>\n"
        '        <ADDRESSBLOCK ACCESS="read-write" INTERFACE="s_axil" NAME="reg0" RANGE="65536"'
        f' USAGE="register">\n          <REGISTERS>\n{fields}          </REGISTERS>\n'
        "        </ADDRESSBLOCK>\n      </ADDRESSBLOCKS>\n"
        f"      <BUSINTERFACES>\n{_slave('s_axil')}      </BUSINTERFACES>\n"
    )
    parameters: dict[str, object] = {
        "C_BASEADDR": f"0x{registers.ENGINE_BASE:08X}",
        "C_HIGHADDR": f"0x{registers.ENGINE_BASE + registers.SPAN_BYTES - 1:08X}",
    }
    return _module("engine_0", "inferry:inferry:engine:1.0", "engine", parameters, inside)


def _access(name: str) -> str:
    return "read-write" if name in ("CONTROL", "MODEL") else "read-only"
