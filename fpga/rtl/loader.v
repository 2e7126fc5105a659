// Reads the commands of the input stream (docs/reference/fpga-engine.md, section 5).
//
// A header is taken in one clock and checked in the next, where it also waits for what it needs.
// Payload beats are shifted into one register, of the width of X, and from there into a wide one; a
// whole word is written a clock or two after its last beat. After an error everything is taken and
// dropped until a reset.
`default_nettype none
module loader #(
    parameter N = 8,
    parameter RQ = 4,
    parameter W_WORDS = 512,
    parameter P_WORDS = 256,
    parameter D_WORDS = 64,
    parameter X_WORDS = 256,
    parameter XL = $clog2(X_WORDS) + 1
) (
    input  wire               clk,
    input  wire               rst,       // soft or hard
    input  wire               hard_rst,  // forgets the program too
    // the input stream
    input  wire [63:0]        in_data,
    input  wire               in_last,
    input  wire               in_valid,
    output wire               in_take,
    // the run
    input  wire               idle,
    input  wire               settled,   // descriptors can be read
    output wire               run_prepare,
    output reg                run_start, // the clock after
    output reg                run_start_copy,
    output reg  [31:0]        run_samples,
    // halves of X: words below the limit are loaded, or will be in the next clock
    input  wire               release_x,
    input  wire               release_half,
    output reg  [XL-1:0]      x_limit0,
    output reg  [XL-1:0]      x_limit1,
    // streamed weights
    input  wire               block_used,
    output reg                block_done,
    // words to write: of X; of the others, which go through those of X and are a clock later
    output reg  [N*8-1:0]     x_word,
    output reg  [15:0]        x_address,
    output reg                we_x,
    output reg  [N*N*8-1:0]   word,
    output reg  [15:0]        address,
    output reg                we_d,
    output reg                we_p,
    output reg                we_w,
    // what the registers show
    output reg  [7:0]         error,
    output reg  [23:0]        error_command,
    output wire               reading
);
    localparam [7:0] DESC = 1, PARAM = 2, WEIGHT = 3, RUN = 4, INPUT = 5, WSTREAM = 6;
    localparam [1:0] HEAD = 0, CHECK = 1, LOAD = 2, DROP = 3;
    localparam RQ_BITS = $clog2(RQ);
    localparam WORD_BITS = $clog2(N / 8);
    localparam WEIGHT_BITS = $clog2(N * N / 8);
    localparam HALF = X_WORDS / 2;

    reg [1:0]  state;
    reg        in_packet;
    reg [7:0]  op;
    reg        is_bad, is_ragged, is_empty, ends;
    reg        is_run, is_input, is_stream, is_malformed;
    reg [16:0] words;       // of the payload, 2^16 and more are all too many
    reg [6:0]  beat;        // left within the word
    reg [6:0]  last_beat;
    reg        is_last, is_whole;   // it is 0; a word is one beat
    reg        is_final;    // `words` is 1
    reg        loads, loads_word;   // state is LOAD; the same twice
    reg [23:0] command;
    reg [31:0] inputs_left;
    reg        half;        // the next INPUT's
    reg [1:0]  is_busy;     // halves of X
    reg [1:0]  blocks;      // WSTREAM blocks loading, loaded or in use
    reg        has_program;
    reg        writes;      // a word is whole in `x_word`, or will be in `word`
    reg        block_ends;

    // A header, first clock: fields.
    wire [31:0] count = in_data[63:32];
    reg  [31:0] count_words;
    reg         count_ragged;
    reg  [6:0]  unit_last;
    reg  [17:0] head_limit;
    always @* begin
        case (in_data[7:0])
            DESC:    head_limit = D_WORDS[17:0];
            PARAM:   head_limit = P_WORDS[17:0];
            INPUT:   head_limit = HALF[17:0];
            default: head_limit = W_WORDS[17:0];
        endcase
        case (in_data[7:0])
            DESC:    begin count_words = count >> 3; count_ragged = |count[2:0]; unit_last = 7'd7; end
            PARAM:   begin
                count_words = count >> RQ_BITS;
                count_ragged = |(count & (RQ - 1));
                unit_last = RQ[6:0] - 7'd1;
            end
            INPUT:   begin
                count_words = count >> WORD_BITS;
                count_ragged = |(count & (N / 8 - 1));
                unit_last = (7'd1 << WORD_BITS) - 7'd1;
            end
            default: begin
                count_words = count >> WEIGHT_BITS;
                count_ragged = |(count & (N * N / 8 - 1));
                unit_last = (7'd1 << (WEIGHT_BITS - 1)) - 7'd1 + (7'd1 << (WEIGHT_BITS - 1));
            end
        endcase
    end

    // Second clock: is it allowed?
    reg  signed [18:0] space;           // words from the address to the memory's end
    wire        does_not_fit = words[16] || $signed({3'd0, words[15:0]}) > space;
    reg         has_all_inputs;      // no INPUT is to come
    wire        is_early = is_input ? has_all_inputs : is_stream && idle;
    wire        is_wrong = is_bad || (is_run ? is_empty || !has_program
                                             : is_early || is_malformed || does_not_fit);
    reg  [7:0]  fault, failed;
    always @* begin
        if (is_bad) fault = 8'd1;
        else if (is_run) fault = 8'd5;
        else if (is_early) fault = 8'd3;
        else if (is_empty || is_ragged || does_not_fit) fault = 8'd4;
        else fault = 8'd2;
    end

    wire may_go = is_input ? !is_busy[half] : is_stream ? !blocks[1] : idle && (settled || !is_run);
    assign run_prepare = state == CHECK && is_run && may_go;
    wire granted = state == CHECK && !is_wrong && may_go;
    wire runs = run_prepare && !is_bad && !is_empty && has_program;
    wire final_beat = is_last && is_final;
    wire cut_short = in_last && !final_beat;
    wire taken = in_valid && in_take;
    wire word_done = loads && in_valid && is_last;

    (* keep *)
    always @(posedge clk) run_start <= runs && !rst;
    (* keep *)
    always @(posedge clk) run_start_copy <= runs && !rst;
    assign in_take = state != CHECK;
    assign reading = in_packet || state == CHECK || state == LOAD;

    wire stops = in_valid && (cut_short || final_beat);
    wire loads_next = !rst && ((granted && !is_run) || (loads && !stops));
    (* keep *)
    always @(posedge clk) loads <= loads_next;
    (* keep *)
    always @(posedge clk) loads_word <= loads_next;
    /* verilator lint_off UNUSED */
    wire [N*8+63:0] x_shifted = {in_data, x_word};
    wire [N*N*8+63:0] shifted = {x_word[N*8-1 -: 64], word};
    /* verilator lint_on UNUSED */
    always @(posedge clk) if (loads_word && in_valid) x_word <= x_shifted[N*8+63:64];
    // Parts of the wide word have enables of their own.
    localparam PARTS = N / 2, PART = N * N * 8 / PARTS;
    genvar i;
    generate
        for (i = 0; i < PARTS; i = i + 1) begin : part
            reg enable;
            (* keep *)
            always @(posedge clk) enable <= loads_word && in_valid;
            always @(posedge clk) if (enable) word[PART*i +: PART] <= shifted[PART*i+64 +: PART];
        end
    endgenerate
    always @(posedge clk) address <= x_address;

    // The place in X of a word within the half.
    wire [15:0] half_base = half ? HALF[15:0] : 16'd0;

    always @(posedge clk) begin
        we_d <= writes && op == DESC && !rst;
        we_p <= writes && op == PARAM && !rst;
        we_w <= writes && (op == WEIGHT || is_stream) && !rst;
        we_x <= 1'b0;
        writes <= 1'b0;
        block_ends <= 1'b0;
        block_done <= block_ends && !rst;
        if (taken) in_packet <= !in_last;
        if (writes) x_address <= x_address + 16'd1;

        case (state)
            HEAD: if (in_valid) begin
                state       <= CHECK;
                op          <= in_data[7:0];
                is_bad      <= in_data[15:8] != 8'hA5 || in_data[7:0] == 8'd0 || in_data[7:0] > WSTREAM;
                x_address   <= in_data[31:16];
                run_samples <= count;
                is_empty    <= count == 32'd0;
                is_ragged   <= count_ragged;
                words       <= {|count_words[31:16], count_words[15:0]};
                space       <= {1'b0, head_limit} - {3'd0, in_data[31:16]};
                last_beat   <= unit_last;
                beat        <= unit_last;
                is_last     <= unit_last == 7'd0;
                is_whole    <= unit_last == 7'd0;
                ends        <= in_last;
                is_run      <= in_data[7:0] == RUN;
                is_input    <= in_data[7:0] == INPUT;
                is_stream   <= in_data[7:0] == WSTREAM;
                is_malformed <= count == 32'd0 || count_ragged || in_last;
            end
            CHECK: begin
                is_final <= words == 17'd1;
                if (is_wrong) begin
                    state  <= DROP;
                    failed <= fault;
                end else if (may_go) begin
                    state <= is_run ? HEAD : LOAD;
                    if (is_input) x_address <= x_address + half_base;
                end
            end
            LOAD: if (in_valid) begin
                beat    <= is_last ? last_beat : beat - 7'd1;
                is_last <= is_last ? is_whole : beat == 7'd1;
                if (is_last) begin
                    words    <= words - 17'd1;
                    is_final <= words == 17'd2;
                    writes   <= 1'b1;
                    we_x     <= is_input;
                end
                if (cut_short) begin
                    state  <= DROP;
                    failed <= 8'd2;
                end else if (final_beat) begin
                    state      <= HEAD;
                    command    <= in_last ? 24'd0 : command + 24'd1;
                    block_ends <= is_stream;
                end
            end
            default: ;
        endcase

        if (runs) command <= ends ? 24'd0 : command + 24'd1;
        // Told a clock later. In that state `command` stands still.
        if (state == DROP) begin
            error         <= failed;
            error_command <= command;
        end

        if (writes && op == DESC) has_program <= 1'b1;
        if (hard_rst) has_program <= 1'b0;

        if (rst) begin
            state         <= HEAD;
            in_packet     <= 1'b0;
            command       <= 24'd0;
            error         <= 8'd0;
            error_command <= 24'd0;
            we_x          <= 1'b0;
            writes        <= 1'b0;
            block_ends    <= 1'b0;
        end
    end

    // X: how far each half is loaded, and who has it. A new INPUT counts what lies before its first
    // word as loaded.
    wire x_grows = word_done && is_input;
    reg  begins;                    // a clock after it was granted: `address` has the half
    always @(posedge clk) begins <= granted && is_input;
    always @(posedge clk) begin
        if (begins) is_busy[half] <= 1'b1;
        if (begins && half) x_limit1 <= x_address[XL-1:0] + {{(XL-1){1'b0}}, x_grows};
        if (begins && !half) x_limit0 <= x_address[XL-1:0] + {{(XL-1){1'b0}}, x_grows};
        // After a fault it does not matter.
        if (state == CHECK && is_input && may_go) begin
            inputs_left <= inputs_left - 32'd1;
            has_all_inputs <= inputs_left == 32'd1;
        end
        // A sample can be released before it is loaded to its end.
        if (x_grows && half && is_busy[1]) x_limit1 <= x_limit1 + 1'b1;
        if (x_grows && !half && is_busy[0]) x_limit0 <= x_limit0 + 1'b1;
        if (x_grows && is_final) half <= !half;
        if (release_x && release_half) begin
            is_busy[1] <= 1'b0;
            x_limit1   <= HALF[XL-1:0];
        end
        if (release_x && !release_half) begin
            is_busy[0] <= 1'b0;
            x_limit0   <= {XL{1'b0}};
        end
        if (run_start) begin
            inputs_left <= run_samples;
            has_all_inputs <= 1'b0;
        end
        if (rst || run_start) begin
            half     <= 1'b0;
            is_busy  <= 2'b00;
            x_limit0 <= {XL{1'b0}};
            x_limit1 <= HALF[XL-1:0];
        end
        if (rst) has_all_inputs <= 1'b1;
    end

    wire block_begins = granted && is_stream;
    always @(posedge clk) begin
        if (block_begins && !block_used) blocks <= blocks + 2'd1;
        if (!block_begins && block_used) blocks <= blocks - 2'd1;
        if (rst || run_start) blocks <= 2'd0;
    end
endmodule
`default_nettype wire
