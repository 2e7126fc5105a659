// The registers (docs/reference/fpga-engine.md, section 6) behind AXI4-Lite. One access at a time.
`default_nettype none
module registers #(
    parameter N = 8,
    parameter RQ = 4,
    parameter W_WORDS = 512,
    parameter P_WORDS = 256,
    parameter D_WORDS = 64,
    parameter X_WORDS = 256,
    parameter A_WORDS = 256,
    parameter B_WORDS = 256,
    parameter [127:0] BUILD = 128'd0
) (
    input  wire        clk,
    input  wire        rst_n,
    input  wire [7:0]  s_axil_awaddr,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output wire [1:0]  s_axil_bresp,
    output reg         s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [7:0]  s_axil_araddr,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output reg  [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp,
    output reg         s_axil_rvalid,
    input  wire        s_axil_rready,
    output wire        soft_reset,     // asked for in this clock
    input  wire        rst,            // of the engine, which follows
    // what happens
    input  wire        idle_now,
    input  wire        reading_now,
    input  wire [7:0]  error,
    input  wire [23:0] error_command,
    input  wire        run_start_now,
    input  wire [31:0] run_samples,
    input  wire        run_end_now,
    input  wire        run_quiet_now,  // the last output beat goes
    input  wire        takes_now,
    input  wire        stalls_input_now,
    input  wire        stalls_output_now,
    input  wire        beat_in_now,
    input  wire        beat_out_now
);
    assign s_axil_bresp = 2'b00;
    assign s_axil_rresp = 2'b00;

    // A write goes when address and data are both there.
    wire writes = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
    assign s_axil_awready = writes;
    assign s_axil_wready = writes;
    assign soft_reset = writes && s_axil_awaddr[7:2] == 6'h0C && s_axil_wstrb[0] && s_axil_wdata[0];
    // A read takes a clock more, so that it sees what happened in the clock before it came.
    reg  [7:2] address;
    reg  looks;
    wire reads = s_axil_arvalid && !s_axil_rvalid && !looks;
    assign s_axil_arready = reads;

    // All of it comes from afar, and is noted a clock later.
    reg idle, reading, run_start, run_end, run_quiet, takes, stalls_input, stalls_output;
    reg beat_in, beat_out, rst_late;
    always @(posedge clk) begin
        {idle, reading, run_start, run_end, run_quiet}
            <= {idle_now, reading_now, run_start_now, run_end_now, run_quiet_now};
        {takes, stalls_input, stalls_output, beat_in, beat_out}
            <= {takes_now, stalls_input_now, stalls_output_now, beat_in_now, beat_out_now};
        rst_late <= rst;
    end

    reg [31:0] model;
    reg [63:0] counting, cycles;
    reg [31:0] arrays, array_cycles, stalls_in, stall_input, stalls_out, stall_output;
    reg [31:0] samples, of_run, beats_in, beats_out;
    reg        ended;                  // cycles of this run are noted

    integer i;
    always @(posedge clk) begin
        if (writes) begin
            s_axil_bvalid <= 1'b1;
            for (i = 0; i < 4; i = i + 1)
                if (s_axil_awaddr[7:2] == 6'h0F && s_axil_wstrb[i])
                    model[8*i +: 8] <= s_axil_wdata[8*i +: 8];
        end else if (s_axil_bready) s_axil_bvalid <= 1'b0;

        // Cycles: the header of RUN came three clocks before the run starts; both ends count.
        counting <= run_start ? 64'd5 : counting + 64'd1;
        arrays <= run_start ? 32'd0 : arrays + {31'd0, takes};
        stalls_in <= run_start ? 32'd0 : stalls_in + {31'd0, stalls_input};
        stalls_out <= run_start ? 32'd0 : stalls_out + {31'd0, stalls_output};
        if (run_start_now) of_run <= run_samples;
        if (run_start) ended <= 1'b0;
        else if (run_quiet && !idle) ended <= 1'b1;
        if (!ended && ((run_quiet && !idle) || run_end)) cycles <= counting;  // or without output
        if (run_end) begin
            array_cycles <= arrays;
            stall_input  <= stalls_in;
            stall_output <= stalls_out;
            samples      <= samples + of_run;
        end
        beats_in  <= beats_in + {31'd0, beat_in};
        beats_out <= beats_out + {31'd0, beat_out};

        if (rst_late) begin
            model        <= 32'd0;
            cycles       <= 64'd0;
            array_cycles <= 32'd0;
            stall_input  <= 32'd0;
            stall_output <= 32'd0;
            samples      <= 32'd0;
            beats_in     <= 32'd0;
            beats_out    <= 32'd0;
            ended        <= 1'b1;
        end
        if (!rst_n) s_axil_bvalid <= 1'b0;
    end

    reg [31:0] value;
    always @* begin
        case (address)
            6'h00: value = 32'h49465259;
            6'h01: value = 32'd1;
            6'h02: value = {16'd0, RQ[7:0], N[7:0]};
            6'h03: value = W_WORDS;
            6'h04: value = {D_WORDS[15:0], P_WORDS[15:0]};
            6'h05: value = {16'd0, X_WORDS[15:0]};
            6'h06: value = {B_WORDS[15:0], A_WORDS[15:0]};
            6'h08: value = BUILD[127:96];
            6'h09: value = BUILD[95:64];
            6'h0A: value = BUILD[63:32];
            6'h0B: value = BUILD[31:0];
            6'h0D: value = {29'd0, reading, error != 8'd0, idle};
            6'h0E: value = {error_command, error};
            6'h0F: value = model;
            6'h10: value = cycles[31:0];
            6'h11: value = cycles[63:32];
            6'h12: value = array_cycles;
            6'h13: value = samples;
            6'h14: value = stall_input;
            6'h15: value = stall_output;
            6'h16: value = beats_in;
            6'h17: value = beats_out;
            default: value = 32'd0;
        endcase
    end
    always @(posedge clk) begin
        looks <= reads;
        if (reads) address <= s_axil_araddr[7:2];
        if (looks) begin
            s_axil_rvalid <= 1'b1;
            s_axil_rdata  <= value;
        end else if (s_axil_rready) s_axil_rvalid <= 1'b0;
        if (!rst_n) begin
            looks         <= 1'b0;
            s_axil_rvalid <= 1'b0;
        end
    end
    /* verilator lint_off UNUSED */
    wire unused = |{s_axil_awaddr[1:0], s_axil_araddr[1:0]};
    /* verilator lint_on UNUSED */
endmodule
`default_nettype wire
