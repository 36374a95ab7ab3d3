/* Request bodies to float32 rows, where the base's parser is known to read the same; everything else is refused.
 *
 * The base reads a decimal as a double and rounds that to float32. A number of up to 2^53 whose power of ten is at most
 * 22 takes the same two roundings here (Clinger, How to read floating point numbers accurately, 1990). Of others the
 * first 64 bits of the product with the power of ten tell the float32, unless it is within 2^-50 of the middle between
 * two (Lemire, Number parsing at a gigabyte per second, 2021, goes on from there for doubles): such a cell is left to
 * Python's `float`. What is infinite as float32, or not 0 and smaller than the normal numbers, is refused.
 *
 * A function returns REFUSED, or how many cells are left. Memory is the caller's, time is linear in the body.
 */
#include <float.h>
#include <string.h>

#include "library.h"
#include "powers.h"

enum { REFUSED = -1, MOST_LEFT = 32, LONGEST_CELL = 255, SNIFFED = 512 };
enum outcome { WRONG, EXACT, LEFT };

/* Where cells are that Python has to read: the number of the cell, its first byte, its length. */
struct left {
    int64_t (*cells)[3];
    int64_t count;
};

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static enum outcome rounded(double number, float *value)
{
    if (number > FLT_MAX || (number < FLT_MIN && number != 0))
        return WRONG;
    *value = (float)number;
    return EXACT;
}

/* digits * 10^exponent, where the digits after the first 19 may have been cut off. */
static enum outcome scaled(uint64_t digits, int64_t exponent, int cut, float *value)
{
    if (digits == 0) {
        *value = 0;
        return EXACT;
    }
    if (!cut && digits <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22)
        return rounded(exponent < 0 ? (double)digits / TENS[-exponent] : (double)digits * TENS[exponent], value);
    if (exponent < POWERS_FROM || exponent > 38)
        return WRONG;
    int zeros = __builtin_clzll(digits);
    /* the power is cut to 64 bits: `top` is less than 2 too small, and less than 80 where digits were cut off */
    uint64_t top = (uint64_t)((unsigned __int128)(digits << zeros) * POWERS[exponent - POWERS_FROM].high >> 64);
    int32_t binary = 64 - zeros + binary_exponent((int32_t)exponent);
    if (!(top >> 63)) {
        top <<= 1;
        binary--;
    }
    const uint64_t rest = top & 0xffffffffff, half = (uint64_t)1 << 39, doubt = 1 << 13;
    if (binary < -126 || binary > 127)
        return WRONG;
    uint32_t bits = (uint32_t)(((uint64_t)(binary + 126) << 23) + (top >> 40) + (rest > half - doubt));
    if (bits >= 0x7f800000)
        return WRONG;
    if (rest > half - doubt && rest < half + doubt)
        return LEFT;
    memcpy(value, &bits, sizeof bits);
    return EXACT;
}

/* The ASCII number at `*place`, of which Python's `float` reads as much; leaves `*place` behind it. */
static enum outcome read_number(const char **place, const char *end, float *value)
{
    const char *at = *place;
    int minus = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (end - at >= 3 && (at[0] | 32) == 'n' && (at[1] | 32) == 'a' && (at[2] | 32) == 'n') {
        const uint32_t bits = 0x7fc00000;
        memcpy(value, &bits, sizeof bits);
        *place = at + 3;
        return EXACT;
    }
    uint64_t digits = 0;
    int64_t exponent = 0;
    int count = 0, any = 0, cut = 0, point = 0;
    for (; at < end; at++) {
        if (*at == '.' && !point) {
            point = 1;
            continue;
        }
        if (*at < '0' || *at > '9')
            break;
        any = 1;
        exponent -= point;
        if (count < 19) {
            digits = digits * 10 + (uint64_t)(*at - '0');
            count += digits != 0;
        } else {
            cut |= *at != '0';
            exponent++;
        }
    }
    if (!any)
        return WRONG;
    if (at < end && (*at | 32) == 'e') {
        at++;
        int below = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+'))
            at++;
        if (at == end || *at < '0' || *at > '9')
            return WRONG;
        int64_t power = 0;
        for (; at < end && *at >= '0' && *at <= '9'; at++)
            power = power < 100000 ? power * 10 + (*at - '0') : power;
        exponent += below ? -power : power;
    }
    enum outcome outcome = scaled(digits, exponent, cut, value);
    if (minus)
        *value = -*value;
    *place = at;
    return outcome;
}

/* The number at `*place` as the cell `cell` of `values`; 0 where it is refused. */
static int read_cell(const char **place, const char *end, const char *body, float *values, int64_t cell,
                     struct left *left)
{
    const char *begin = *place;
    enum outcome outcome = read_number(place, end, &values[cell]);
    if (outcome == WRONG || *place - begin > LONGEST_CELL || (outcome == LEFT && left->count == MOST_LEFT))
        return 0;
    if (outcome == LEFT) {
        int64_t *cells = left->cells[left->count++];
        cells[0] = cell;
        cells[1] = begin - body;
        cells[2] = *place - begin;
    }
    return 1;
}

/* Whether Python's csv.Sniffer leads the base to the comma: it is in the sample, or a letter or digit is the most
 * frequent character there, of which the largest counts. The sample is of one line, so the mode is the count. */
static int comma_is_sniffed(const char *body, const char *end)
{
    int64_t counts[128] = {0};
    int most = 0;
    for (const char *at = body; at < end && at < body + SNIFFED && *at != '\n'; at++) {
        if (*at == ',')
            return 1;
        const unsigned char character = (unsigned char)*at; /* `char` has a sign on x86-64 alone */
        if (*at == '\t' || *at == ';' || *at == ' ' || *at == ':' || character > 126)
            return 0;
        counts[character]++;
    }
    for (int character = 1; character < 127; character++)
        most = counts[character] >= counts[most] ? character : most;
    return (most >= '0' && most <= '9') || ((most | 32) >= 'a' && (most | 32) <= 'z');
}

static const char *after_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* CSV without white space at its ends: `rows` lines of `columns` cells, an empty one is NaN, to `values`. */
EXPORT int64_t xgbpatch_read_csv(const char *body, int64_t length, int64_t rows, int64_t columns, float *values,
                                 int64_t (*cells)[3])
{
    const char *at = body, *end = body + length;
    struct left left = {cells, 0};
    if (!comma_is_sniffed(body, end))
        return REFUSED;
    for (int64_t cell = 0; cell < rows * columns; cell++) {
        const char delimiter = (cell + 1) % columns ? ',' : '\n';
        if (at == end || *at == ',' || *at == '\n') {
            const uint32_t nan = 0x7fc00000;
            memcpy(&values[cell], &nan, sizeof nan);
        } else {
            const char *begin = at;
            at = after_blanks(at, end);
            if (!read_cell(&at, end, body, values, cell, &left))
                return REFUSED;
            at = after_blanks(at, end);
            if (at - begin > LONGEST_CELL)
                return REFUSED;
        }
        if (at == end)
            return cell + 1 == rows * columns ? left.count : REFUSED;
        if (*at++ != delimiter)
            return REFUSED;
    }
    return REFUSED; /* the last cell ends in a delimiter */
}

/* libsvm without white space at its ends: `rows` lines of one label or none and `entries` pairs, to CSR.
 *
 * Each line has a pair at least, and its indices (below 10^9) grow. `starts` has room for rows + 1.
 */
EXPORT int64_t xgbpatch_read_libsvm(const char *body, int64_t length, int64_t rows, int64_t entries, int64_t *starts,
                                    int32_t *indices, float *values, int64_t (*cells)[3])
{
    const char *at = body, *end = body + length;
    struct left left = {cells, 0};
    int64_t entry = 0;
    for (int64_t row = 0; row < rows; row++) {
        starts[row] = entry;
        int32_t last = -1;
        int labelled = 0;
        for (;;) {
            while (at < end && *at == ' ')
                at++;
            if (at < end && *at == '\r' && (at + 1 == end || at[1] == '\n'))
                at++;
            if (at == end || *at == '\n')
                break;
            const char *begin = at;
            int64_t index = 0;
            for (; at < end && *at >= '0' && *at <= '9' && at - begin < 9; at++)
                index = index * 10 + (*at - '0');
            if (at > begin && at < end && *at == ':') {
                at++;
                if (index <= last || entry == entries || !read_cell(&at, end, body, values, entry, &left))
                    return REFUSED;
                last = (int32_t)index;
                indices[entry++] = last;
            } else {
                float label;
                at = begin;
                if (labelled || last >= 0 || read_number(&at, end, &label) == WRONG)
                    return REFUSED;
                labelled = 1;
            }
            if (at < end && *at != ' ' && *at != '\n' && *at != '\r')
                return REFUSED;
        }
        if (last < 0 || (at < end) != (row + 1 < rows))
            return REFUSED;
        at++;
    }
    starts[rows] = entry;
    return entry == entries ? left.count : REFUSED;
}

/* CSR to rows of `columns` float32 that all are NaN before; `first` is the index of the first column. */
EXPORT void xgbpatch_fill(const int64_t *starts, const int32_t *indices, const float *entries, int64_t rows,
                          int64_t columns, int32_t first, float *values)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t entry = starts[row]; entry < starts[row + 1]; entry++)
            values[row * columns + indices[entry] - first] = entries[entry];
}

/* recordio-protobuf: a frame of magic number, length and padding around each message `Record` of SageMaker, which is
 * read in the one form that writers give it. Protocol buffers: https://protobuf.dev/programming-guides/encoding. */

enum { MAGIC = 0xced7230a, FLOAT32 = 2, FLOAT64 = 3 }; /* of Value: the numbers of the two tensors */

/* What is left of a message; `at` is NULL after a mistake. */
struct message {
    const uint8_t *at, *end;
};

struct tensor {
    uint64_t kind;
    struct message values, keys, shape; /* `at` is NULL where it has none */
};

static uint64_t varint(struct message *message)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
        if (!message->at || message->at == message->end)
            break;
        uint8_t byte = *message->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    message->at = NULL;
    return 0;
}

/* The next field of a message, one with a length; its number, or 0 at the end and after a mistake. */
static uint64_t field(struct message *message, struct message *content)
{
    if (!message->at || message->at == message->end)
        return 0;
    uint64_t tag = varint(message), length = varint(message);
    if (!message->at || (tag & 7) != 2 || tag >> 3 == 0 || length > (uint64_t)(message->end - message->at)) {
        message->at = NULL;
        return 0;
    }
    *content = (struct message){message->at, message->at + length};
    message->at += length;
    return tag >> 3;
}

static int ended(const struct message *message)
{
    return message->at && message->at == message->end;
}

/* The tensor under the key "values", which is all that such a map holds. */
static int read_tensor(struct message map, struct tensor *tensor)
{
    struct message key, value, numbers, content;
    if (field(&map, &key) != 1 || key.end - key.at != 6 || memcmp(key.at, "values", 6) || field(&map, &value) != 2 ||
        !ended(&map))
        return 0;
    *tensor = (struct tensor){0};
    tensor->kind = field(&value, &numbers);
    if ((tensor->kind != FLOAT32 && tensor->kind != FLOAT64) || !ended(&value))
        return 0;
    struct message *parts[] = {NULL, &tensor->values, &tensor->keys, &tensor->shape};
    while (!ended(&numbers)) {
        uint64_t number = field(&numbers, &content);
        if (number < 1 || number > 3 || parts[number]->at || content.at == content.end)
            return 0;
        *parts[number] = content;
    }
    return tensor->values.at && (tensor->values.end - tensor->values.at) % (tensor->kind == FLOAT32 ? 4 : 8) == 0;
}

static int64_t size_of(const struct tensor *tensor)
{
    return (tensor->values.end - tensor->values.at) / (tensor->kind == FLOAT32 ? 4 : 8);
}

static int read_value(const struct tensor *tensor, int64_t number, float *value)
{
    if (tensor->kind == FLOAT32) {
        memcpy(value, tensor->values.at + 4 * number, sizeof *value);
        return !(*value > FLT_MAX || *value < -FLT_MAX);
    }
    double wide;
    memcpy(&wide, tensor->values.at + 8 * number, sizeof wide);
    if (wide != wide) {
        *value = (float)wide;
        return 1;
    }
    enum outcome outcome = rounded(wide < 0 ? -wide : wide, value);
    *value = wide < 0 ? -*value : *value;
    return outcome == EXACT;
}

/* Where the fields of a record are what is read here: features, and a label of one finite float32 or none. */
static int read_record(struct message record, struct tensor *features, int *labelled)
{
    struct message content;
    struct tensor label;
    float value;
    features->kind = 0;
    *labelled = 0;
    while (!ended(&record)) {
        uint64_t number = field(&record, &content);
        if (number == 1 && !features->kind) {
            if (!read_tensor(content, features))
                return 0;
        } else if (number == 2 && !*labelled) {
            if (!read_tensor(content, &label) || label.kind != FLOAT32 || size_of(&label) != 1 || label.keys.at ||
                label.shape.at || !read_value(&label, 0, &value) || value != value)
                return 0;
            *labelled = 1;
        } else {
            return 0;
        }
    }
    return features->kind != 0;
}

/* Records that are alike, all dense or all sparse, to rows of `shape[1]` float32 that all are NaN before.
 *
 * With NULL for `values` only `shape` is written: rows, columns, whether they are sparse. Returns 0 or REFUSED.
 */
EXPORT int64_t xgbpatch_read_recordio(const char *body, int64_t length, float *values, int64_t *shape)
{
    const uint8_t *at = (const uint8_t *)body, *end = at + length;
    uint64_t first_kind = 0;
    int64_t rows = 0, columns = 0;
    int first_sparse = 0, first_labelled = 0;
    for (; at < end; rows++) {
        uint32_t head[2];
        if (end - at < 8)
            return REFUSED;
        memcpy(head, at, sizeof head);
        at += sizeof head;
        const int64_t size = head[1], padded = (size + 3) / 4 * 4;
        if (head[0] != (uint32_t)MAGIC || padded > end - at)
            return REFUSED;
        struct tensor tensor;
        int labelled;
        if (!read_record((struct message){at, at + size}, &tensor, &labelled))
            return REFUSED;
        at += padded;
        const int sparse = tensor.keys.at != NULL;
        int64_t width = size_of(&tensor);
        if (sparse) {
            const uint64_t shaped = tensor.shape.at ? varint(&tensor.shape) : 0;
            if (!ended(&tensor.shape) || shaped < 1 || shaped > INT32_MAX)
                return REFUSED;
            width = (int64_t)shaped;
        } else if (tensor.shape.at) {
            return REFUSED;
        }
        if (rows == 0) {
            first_kind = tensor.kind;
            columns = width;
            first_sparse = sparse;
            first_labelled = labelled;
        }
        if (tensor.kind != first_kind || width != columns || sparse != first_sparse || labelled != first_labelled)
            return REFUSED;
        int64_t last = -1;
        for (int64_t number = 0; number < size_of(&tensor); number++) {
            float value;
            const int64_t column = sparse ? (int64_t)varint(&tensor.keys) : number;
            if (column <= last || column >= columns || (sparse && !tensor.keys.at) ||
                !read_value(&tensor, number, &value))
                return REFUSED;
            last = column;
            if (values)
                memcpy(&values[rows * columns + column], &value, sizeof value);
        }
        if (sparse && !ended(&tensor.keys))
            return REFUSED;
    }
    shape[0] = rows;
    shape[1] = columns;
    shape[2] = first_sparse;
    return rows ? 0 : REFUSED;
}
