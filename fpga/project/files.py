"""The project's files: Verilog, build.tcl for Vivado, Makefile for openXC7, and design.hwh."""

from __future__ import annotations

from pathlib import Path
from string import Template

from fpga.board import hwh
from fpga.board.designs import build_hash
from fpga.driver.parts import kind_of
from fpga.isa.shape import EngineShape
from fpga.simulation.library import sources

WARNING = (
    "UNTESTED: written by Inferry without {tool}. The Verilog is what the simulation runs; timing"
    " at {clock_mhz} MHz is unproven."
)
CLOCK_MHZ = 100.0

VIVADO = Template("""# $warning
#   vivado -mode batch -source build.tcl      makes design.bit, beside design.hwh, which is there
set here [file dirname [file normalize [info script]]]
create_project -force inferry $$here/vivado -part $part
add_files [glob $$here/rtl/*.v]
update_compile_order -fileset sources_1
create_bd_design design_1
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps7]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \\
    -config {make_external "FIXED_IO, DDR" apply_board_preset "0"} $$ps
set_property -dict [list CONFIG.PCW_USE_M_AXI_GP0 {1} CONFIG.PCW_USE_S_AXI_HP0 {1} \\
    CONFIG.PCW_S_AXI_HP0_DATA_WIDTH {64} CONFIG.PCW_EN_CLK0_PORT {1} CONFIG.PCW_EN_RST0_PORT {1} \\
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {$clock_mhz}] $$ps
set logic [create_bd_cell -type module -reference zynq logic]
set_property -dict [list $parameters] $$logic
set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset]
set down [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 down]
set up [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 up]
set_property CONFIG.NUM_SI 1 $$down
set_property CONFIG.NUM_SI 1 $$up
foreach pin {ps7/M_AXI_GP0_ACLK ps7/S_AXI_HP0_ACLK reset/slowest_sync_clk down/aclk up/aclk \\
        logic/clk} {
    connect_bd_net [get_bd_pins ps7/FCLK_CLK0] [get_bd_pins $$pin]
}
connect_bd_net [get_bd_pins ps7/FCLK_RESET0_N] [get_bd_pins reset/ext_reset_in]
foreach pin {down/aresetn up/aresetn logic/rst_n} {
    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $$pin]
}
connect_bd_intf_net [get_bd_intf_pins ps7/M_AXI_GP0] [get_bd_intf_pins down/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins down/M00_AXI] [get_bd_intf_pins logic/s_axil]
connect_bd_intf_net [get_bd_intf_pins logic/m_axi] [get_bd_intf_pins up/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins up/M00_AXI] [get_bd_intf_pins ps7/S_AXI_HP0]
create_bd_port -dir O -from 3 -to 0 leds
connect_bd_net [get_bd_pins logic/leds] [get_bd_ports leds]
assign_bd_address -offset 0x40000000 -range 128M \\
    -target_address_space [get_bd_addr_spaces ps7/Data] [get_bd_addr_segs logic/s_axil/*]
assign_bd_address [get_bd_addr_segs ps7/S_AXI_HP0/HP0_DDR_LOWOCM]
validate_bd_design
save_bd_design
make_wrapper -files [get_files design_1.bd] -top -import
set_property top design_1_wrapper [current_fileset]
add_files -fileset constrs_1 [list $$here/leds.xdc $$here/build.xdc]
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} {error "the implementation failed"}
open_run impl_1
report_timing_summary -file $$here/timing.txt
report_utilization -file $$here/utilization.txt
if {[get_property STATS.WNS [get_runs impl_1]] < 0} {error "timing is not met: see timing.txt"}
file copy -force [glob $$here/vivado/inferry.runs/impl_1/*.bit] $$here/design.bit
""")

OPENXC7 = Template("""# $warning
# openXC7 (yosys, nextpnr-xilinx, prjxray): the logic alone, whose ports must still be joined to the
# PS7 in a top module of yours; nextpnr-xilinx knows PS7 as a primitive.
PART := $part
CHIPDB ?= $$(NEXTPNR_XILINX)/xc7z020.bin
PRJXRAY_DB ?= $$(PRJXRAY)/database/zynq7

design.bit: design.fasm
\tfasm2frames --part $$(PART) --db-root $$(PRJXRAY_DB) $$< design.frames
\txc7frames2bit --part_file $$(PRJXRAY_DB)/$$(PART)/part.yaml --part_name $$(PART) \\
\t  --frm_file design.frames --output_file $$@

design.fasm: design.json leds.xdc
\tnextpnr-xilinx --chipdb $$(CHIPDB) --xdc leds.xdc --json $$< --fasm $$@

design.json: $$(wildcard rtl/*.v)
\tyosys -p "read_verilog rtl/*.v; chparam $chparam zynq; \\
\t  synth_xilinx -family xc7 -flatten -abc9 -top zynq; write_json $$@"
""")

# PYNQ-Z1 and Z2 have their four LEDs on the same pins.
LEDS = "".join(
    f"set_property -dict {{PACKAGE_PIN {pin} IOSTANDARD LVCMOS33}} [get_ports {{leds[{number}]}}]\n"
    for number, pin in enumerate(("R14", "P14", "N16", "M14"))
)

# The .bit says of which engine it is: fpga/design.py reads it. Of Vivado alone.
USER_ID = "set_property BITSTREAM.CONFIG.USERID 0x{} [current_design]\n"


def write(folder: Path, shape: EngineShape, board: str = "pynq-z2") -> list[Path]:
    """The project, into a folder; returns its files. Raises BitstreamError for an unknown board."""
    kind, build = kind_of(board), build_hash(shape)
    values: dict[str, int | str] = {
        name.upper(): value for name, value in shape.as_dict().items()
    } | {"BUILD": f"128'h{build}"}
    facts = {
        "part": kind.part,
        "clock_mhz": f"{CLOCK_MHZ:g}",
        "parameters": " ".join(f"CONFIG.{name} {{{value}}}" for name, value in values.items()),
        "chparam": " ".join(f"-set {name} {value}" for name, value in values.items()),
    }
    (folder / "rtl").mkdir(parents=True, exist_ok=True)
    texts = {
        "build.tcl": VIVADO.substitute(
            facts, warning=WARNING.format(tool="Vivado", clock_mhz=facts["clock_mhz"])
        ),
        "Makefile": OPENXC7.substitute(
            facts, warning=WARNING.format(tool="openXC7", clock_mhz=facts["clock_mhz"])
        ),
        "leds.xdc": LEDS,
        "build.xdc": USER_ID.format(build[:8].upper()),
    }
    texts |= {f"rtl/{path.name}": path.read_text() for path in sources()}
    made = []
    for name, text in texts.items():
        (folder / name).write_text(text)
        made.append(folder / name)
    (folder / "design.hwh").write_bytes(
        hwh.make(kind.part, name=f"inferry_{build[:16]}", clock_mhz=CLOCK_MHZ)
    )
    return [*made, folder / "design.hwh"]
