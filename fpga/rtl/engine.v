// The engine: docs/reference/fpga-engine.md says what it does.
//
//   stream -> slice -> loader -> memories        prefetch -> walker -> issue
//   banks, weights -> array -> results -> banks or output_fifo -> stream
`default_nettype none
module engine #(
    parameter N = 8,                  // lanes: 8, 16 or 32
    parameter RQ = 4,                 // requantisers, a divisor of N
    parameter W_WORDS = 512,
    parameter P_WORDS = 256,
    parameter D_WORDS = 64,
    parameter X_WORDS = 256,
    parameter A_WORDS = 256,
    parameter B_WORDS = 256,
    parameter [127:0] BUILD = 128'd0,
    parameter PACK = 1                // two products in one multiplier (DSP48)
) (
    input  wire        clk,
    input  wire        rst_n,         // synchronous
    input  wire [7:0]  s_axil_awaddr,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output wire [1:0]  s_axil_bresp,
    output wire        s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [7:0]  s_axil_araddr,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp,
    output wire        s_axil_rvalid,
    input  wire        s_axil_rready,
    input  wire [63:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,
    output wire [63:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast
);
    localparam R = N / RQ;
    localparam DA = $clog2(D_WORDS), PA = $clog2(P_WORDS), WA = $clog2(W_WORDS);
    localparam XA = $clog2(X_WORDS), XL = XA + 1, AA = $clog2(A_WORDS), BA = $clog2(B_WORDS);
    wire soft_reset;
    reg  hard_rst, rst;
    always @(posedge clk) begin
        hard_rst <= !rst_n;
        rst      <= !rst_n || soft_reset;
    end

    // In.
    wire [63:0] in_data;
    wire        in_last, in_valid, in_take;
    slice #(.WIDTH(65)) in_slice (
        .clk(clk), .rst(rst),
        .in_data({s_axis_tlast, s_axis_tdata}), .in_valid(s_axis_tvalid), .in_ready(s_axis_tready),
        .out_data({in_last, in_data}), .out_valid(in_valid), .out_take(in_take)
    );

    reg             running;
    wire            run_prepare, run_start, run_start_copy, run_end, settling;
    reg             all_issued;
    wire [31:0]     run_samples;
    wire            released_x, parity, block_used, block_done;
    wire [XL-1:0]   x_limit0, x_limit1;
    wire [N*N*8-1:0] loaded;
    wire [N*8-1:0]  loaded_x;
    /* verilator lint_off UNUSED */
    wire [15:0]     load_to, load_x_to;   // as wide as the largest memory's
    /* verilator lint_on UNUSED */
    wire            we_d, we_p, we_w, we_x, reading;
    wire [7:0]      error;
    wire [23:0]     error_command;
    loader #(
        .N(N), .RQ(RQ), .W_WORDS(W_WORDS), .P_WORDS(P_WORDS), .D_WORDS(D_WORDS), .X_WORDS(X_WORDS)
    ) loader (
        .clk(clk), .rst(rst), .hard_rst(hard_rst),
        .in_data(in_data), .in_last(in_last), .in_valid(in_valid), .in_take(in_take),
        .idle(!running), .settled(!settling && !we_d), .run_prepare(run_prepare),
        .run_start(run_start), .run_start_copy(run_start_copy), .run_samples(run_samples),
        .release_x(released_x), .release_half(parity), .x_limit0(x_limit0), .x_limit1(x_limit1),
        .block_used(block_used), .block_done(block_done),
        .x_word(loaded_x), .x_address(load_x_to), .we_x(we_x),
        .word(loaded), .address(load_to), .we_d(we_d), .we_p(we_p), .we_w(we_w),
        .error(error), .error_command(error_command), .reading(reading)
    );
    wire [511:0] loaded_d = loaded[N*N*8-1 -: 512];

    // The next slot.
    wire prefetch_active, n_valid, n_take;
    wire n_skip, n_parity, n_res, n_wfix, n_streamed, n_release_x, n_by_tile, n_is_max;
    wire [DA-1:0] n_index;
    wire [5:0] n_in_flight;
    wire [1:0] n_src_bank, n_dst_bank, n_res_bank;
    wire [13:0] n_src, n_dst, n_res_at, n_src_pixel, n_src_row;
    wire [13:0] n_sx_words, n_sy_words, n_dst_pixel, n_res_pixel;
    wire [15:0] n_w_base, n_p_base;
    wire [9:0] n_ih, n_iw, n_oh_last, n_ow_last, n_ict_last, n_oct_last;
    wire [3:0] n_kh_last, n_kw_last, n_sy, n_sx, n_pt, n_pl;
    wire [5:0] n_ones, n_twos;
    wire [7:0] n_pad;
    wire n_ce;
    wire [DA-1:0] n_raddr;
    prefetch #(.D_WORDS(D_WORDS)) prefetch (
        .clk(clk), .rst(rst), .prepare(run_prepare), .start(run_start_copy), .samples(run_samples),
        .d_we(we_d), .d_waddr(load_to[DA-1:0]), .d_last(loaded_d[4]), .d_stage(loaded_d[15:12]),
        .active(prefetch_active), .ce(n_ce), .d(n_raddr), .valid(n_valid), .take(n_take),
        .skip(n_skip), .parity(n_parity), .index(n_index)
    );
    descriptors #(.D_WORDS(D_WORDS)) descriptors (
        .clk(clk), .we(we_d), .waddr(load_to[DA-1:0]), .word(loaded_d), .busy(settling),
        .ce(n_ce), .raddr(n_raddr), .odd(n_parity), .res(n_res), .wfix(n_wfix),
        .streamed(n_streamed), .release_x(n_release_x), .by_tile(n_by_tile), .is_max(n_is_max),
        .in_flight(n_in_flight), .src_bank(n_src_bank), .src(n_src), .dst_bank(n_dst_bank),
        .dst(n_dst), .res_bank(n_res_bank), .res_at(n_res_at), .w_base(n_w_base),
        .p_base(n_p_base), .ih(n_ih), .iw(n_iw), .oh_last(n_oh_last), .ow_last(n_ow_last),
        .kh_last(n_kh_last), .kw_last(n_kw_last), .ict_last(n_ict_last), .oct_last(n_oct_last),
        .ones(n_ones), .twos(n_twos), .sy(n_sy), .sx(n_sx), .pt(n_pt), .pl(n_pl),
        .src_pixel(n_src_pixel), .src_row(n_src_row), .sx_words(n_sx_words),
        .sy_words(n_sy_words), .dst_pixel(n_dst_pixel), .res_pixel(n_res_pixel), .pad(n_pad)
    );

    // Its taps, one by one.
    wire        walker_active, t_valid, t_skip, t_slot_first, t_slot_last;
    wire        t_word_first, t_word_last, t_res, t_streamed, t_release_x, t_is_max, t_res_in_b;
    wire        t_is_pad, t_x_ok, t_to_output;
    wire        f_valid, f_skip, f_slot_first, f_word_first, f_word_last, f_res, f_streamed;
    wire        f_to_output, f_x_ok;  // of the tap that follows
    wire [5:0]  f_in_flight;
    wire [5:0]  moves;
    wire [DA-1:0] t_index;
    wire [5:0]  t_in_flight;
    wire [1:0]  t_src_bank;
    /* verilator lint_off UNUSED */
    wire [13:0] t_src, t_a_addr, t_b_addr;
    wire [15:0] t_w_addr, t_p_addr;
    /* verilator lint_on UNUSED */
    wire [15:0] t_dst;
    wire [7:0]  t_pad;
    walker #(.R(R), .DA(DA), .XL(XL)) walker (
        .clk(clk), .rst(rst), .n_valid(n_valid), .n_take(n_take),
        .n_skip(n_skip), .n_parity(n_parity), .n_index(n_index),
        .n_res(n_res), .n_wfix(n_wfix), .n_streamed(n_streamed),
        .n_release_x(n_release_x), .n_by_tile(n_by_tile), .n_is_max(n_is_max),
        .n_in_flight(n_in_flight), .n_src_bank(n_src_bank), .n_src(n_src),
       
        .n_dst_bank(n_dst_bank), .n_dst(n_dst),
        .n_res_bank(n_res_bank), .n_res_at(n_res_at), .n_w_base(n_w_base),
        .n_p_base(n_p_base), .n_ih(n_ih), .n_iw(n_iw),
        .n_oh_last(n_oh_last), .n_ow_last(n_ow_last), .n_kh_last(n_kh_last),
        .n_kw_last(n_kw_last), .n_ict_last(n_ict_last), .n_oct_last(n_oct_last),
        .n_ones(n_ones), .n_twos(n_twos),
        .n_sy(n_sy), .n_sx(n_sx), .n_pt(n_pt),
        .n_pl(n_pl), .n_src_pixel(n_src_pixel), .n_src_row(n_src_row),
        .n_sx_words(n_sx_words), .n_sy_words(n_sy_words), .n_dst_pixel(n_dst_pixel),
        .n_res_pixel(n_res_pixel), .n_pad(n_pad),
        .active(walker_active), .valid(t_valid), .moves(moves),
        .skip(t_skip),
        .slot_first(t_slot_first), .slot_last(t_slot_last),
        .word_first(t_word_first), .word_last(t_word_last),
        .parity(parity), .index(t_index), .res(t_res), .streamed(t_streamed),
        .release_x(t_release_x), .is_max(t_is_max), .in_flight(t_in_flight),
        .src_bank(t_src_bank), .to_output(t_to_output), .x_ok(t_x_ok),
        .next_valid(f_valid), .next_skip(f_skip), .next_slot_first(f_slot_first),
        .next_word_first(f_word_first), .next_word_last(f_word_last), .next_res(f_res),
        .next_streamed(f_streamed), .next_in_flight(f_in_flight),
        .next_to_output(f_to_output), .next_x_ok(f_x_ok),
        .x_limit0(x_limit0), .x_limit1(x_limit1), .src(t_src),
        .a_addr(t_a_addr), .b_addr(t_b_addr), .res_in_b(t_res_in_b),
        .is_pad(t_is_pad), .pad(t_pad), .w_addr(t_w_addr), .p_addr(t_p_addr), .dst(t_dst)
    );

    wire take, slot_done, reserve, output_full, output_nearly, complete, res_mode;
    wire stalls_input, stalls_output;
    issue #(.R(R)) issue (
        .clk(clk), .rst(rst || run_start),
        .valid(t_valid), .skip(t_skip), .slot_first(t_slot_first), .slot_last(t_slot_last),
        .word_first(t_word_first), .word_last(t_word_last), .res(t_res),
        .streamed(t_streamed), .release_x(t_release_x), .in_flight(t_in_flight),
        .to_output(t_to_output), .x_ok(t_x_ok),
        .next_valid(f_valid), .next_skip(f_skip), .next_slot_first(f_slot_first),
        .next_word_first(f_word_first), .next_word_last(f_word_last), .next_res(f_res),
        .next_streamed(f_streamed), .next_in_flight(f_in_flight),
        .next_to_output(f_to_output), .next_x_ok(f_x_ok), .block_done(block_done),
        .output_full(output_full), .output_nearly(output_nearly), .slot_done(slot_done),
        .moves_all(moves), .take(take), .released_x(released_x),
        .block_used(block_used),
        .reserve(reserve), .res_mode(res_mode), .complete(complete),
        .stalls_input(stalls_input), .stalls_output(stalls_output)
    );

    // Memories.
    wire             write_a, write_b, write_out;
    /* verilator lint_off UNUSED */
    wire [13:0]      write_to;        // as wide as the largest memory's
    /* verilator lint_on UNUSED */
    wire [N*8-1:0]   result, x_word, a_word, b_word;
    wire [N*N*8-1:0] weights;
    wire [PA-1:0]    p_raddr;
    wire [RQ*64-1:0] parameters;
    reg  [WA-1:0]    w_raddr;         // the words that they meet take a clock more
    always @(posedge clk) w_raddr <= t_w_addr[WA-1:0];
    memory #(.WIDTH(N * N * 8), .WORDS(W_WORDS)) w_memory (
        .clk(clk), .ce(1'b1), .we(we_w), .waddr(load_to[WA-1:0]), .wdata(loaded),
        .raddr(w_raddr), .rdata(weights)
    );
    memory #(.WIDTH(RQ * 64), .WORDS(P_WORDS)) p_memory (
        .clk(clk), .ce(1'b1), .we(we_p), .waddr(load_to[PA-1:0]), .wdata(loaded[N*N*8-1 -: RQ*64]),
        .raddr(p_raddr), .rdata(parameters)
    );
    memory #(.WIDTH(N * 8), .WORDS(X_WORDS)) x_memory (
        .clk(clk), .ce(1'b1), .we(we_x), .waddr(load_x_to[XA-1:0]), .wdata(loaded_x),
        .raddr(t_src[XA-1:0]), .rdata(x_word)
    );
    memory #(.WIDTH(N * 8), .WORDS(A_WORDS)) a_memory (
        .clk(clk), .ce(1'b1), .we(write_a), .waddr(write_to[AA-1:0]),
        .wdata(result), .raddr(t_a_addr[AA-1:0]), .rdata(a_word)
    );
    memory #(.WIDTH(N * 8), .WORDS(B_WORDS)) b_memory (
        .clk(clk), .ce(1'b1), .we(write_b), .waddr(write_to[BA-1:0]),
        .wdata(result), .raddr(t_b_addr[BA-1:0]), .rdata(b_word)
    );

    wire [N*25-1:0] acc;
    array #(.N(N), .PACK(PACK)) array (
        .clk(clk), .rst(rst), .take(take), .first(t_word_first), .is_max(t_is_max),
        .bank(t_src_bank), .is_pad(t_is_pad), .pad(t_pad),
        .x_word(x_word), .a_word(a_word), .b_word(b_word), .weights(weights), .acc(acc)
    );
    results #(
        .N(N), .RQ(RQ), .PACK(PACK), .D_WORDS(D_WORDS), .P_WORDS(P_WORDS)
    ) results (
        .clk(clk), .rst(rst), .d_we(we_d), .d_waddr(load_to[DA-1:0]), .d_word(loaded_d),
        .word_end(take && t_word_last), .slot_end(take && t_slot_last), .index(t_index),
        .p_addr(t_p_addr[PA-1:0]), .dst(t_dst), .res_in_b(t_res_in_b), .res_mode(res_mode),
        .a_word(a_word), .b_word(b_word), .p_raddr(p_raddr), .parameters(parameters), .acc(acc),
        .write_a(write_a), .write_b(write_b), .write_out(write_out), .write_to(write_to),
        .word(result), .slot_done(slot_done)
    );

    // Out.
    wire out_empty;
    output_fifo #(.N(N)) output_fifo (
        .clk(clk), .rst(rst), .reserve(reserve), .is_full(output_full),
        .is_nearly(output_nearly), .push(write_out), .word(result),
        .all_issued(all_issued), .is_empty(out_empty),
        .out_data(m_axis_tdata), .out_valid(m_axis_tvalid), .out_last(m_axis_tlast),
        .out_ready(m_axis_tready)
    );

    // A run ends when all its slots are complete and all its results are out.
    assign run_end = running && all_issued && complete && out_empty;
    always @(posedge clk) begin
        all_issued <= running && !prefetch_active && !walker_active;
        if (run_start) running <= 1'b1;
        else if (run_end) running <= 1'b0;
        if (rst) running <= 1'b0;
    end

    registers #(
        .N(N), .RQ(RQ), .W_WORDS(W_WORDS), .P_WORDS(P_WORDS), .D_WORDS(D_WORDS),
        .X_WORDS(X_WORDS), .A_WORDS(A_WORDS), .B_WORDS(B_WORDS), .BUILD(BUILD)
    ) registers (
        .clk(clk), .rst_n(rst_n),
        .s_axil_awaddr(s_axil_awaddr), .s_axil_awvalid(s_axil_awvalid),
        .s_axil_awready(s_axil_awready), .s_axil_wdata(s_axil_wdata),
        .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid),
        .s_axil_wready(s_axil_wready), .s_axil_bresp(s_axil_bresp),
        .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready),
        .s_axil_araddr(s_axil_araddr), .s_axil_arvalid(s_axil_arvalid),
        .s_axil_arready(s_axil_arready), .s_axil_rdata(s_axil_rdata),
        .s_axil_rresp(s_axil_rresp), .s_axil_rvalid(s_axil_rvalid),
        .s_axil_rready(s_axil_rready), .soft_reset(soft_reset), .rst(rst),
        .idle_now(!running), .reading_now(reading), .error(error), .error_command(error_command),
        .run_start_now(run_start), .run_samples(run_samples), .run_end_now(run_end),
        .run_quiet_now(m_axis_tvalid && m_axis_tready && m_axis_tlast), .takes_now(take),
        .stalls_input_now(stalls_input), .stalls_output_now(stalls_output),
        .beat_in_now(s_axis_tvalid && s_axis_tready), .beat_out_now(m_axis_tvalid && m_axis_tready)
    );
endmodule
`default_nettype wire
