/* A rule set for the imaginary shell `toy` in C. It knows one command, `drop PATH`, which removes
 * a file or a directory with everything in it.
 *
 *     cc -std=c11 -shared -fPIC -I plugins/abi/include -o libtoy.so examples/plugin_in_c/plugin.c
 *     deployx plugins check ./libtoy.so
 */
#include <stdlib.h>
#include <string.h>

#include "deployx_plugin.h"

/* ---- Records: tag (2 bytes), length (4 bytes), content; numbers are little-endian. ---- */

typedef struct {
    uint8_t *data;
    size_t len, capacity;
    int failed;
} writer;

static void append(writer *w, const void *bytes, size_t len) {
    if (w->failed || len == 0)
        return;
    if (w->capacity - w->len < len) {
        size_t capacity = 2 * (w->len + len);
        uint8_t *data = realloc(w->data, capacity);
        if (data == NULL) {
            w->failed = 1;
            return;
        }
        w->data = data;
        w->capacity = capacity;
    }
    memcpy(w->data + w->len, bytes, len);
    w->len += len;
}

static void put(writer *w, unsigned tag, const void *content, size_t len) {
    uint8_t head[6] = {(uint8_t)tag,         (uint8_t)(tag >> 8),  (uint8_t)len,
                       (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24)};
    append(w, head, sizeof head);
    append(w, content, len);
}

static void put_byte(writer *w, unsigned tag, uint8_t byte) { put(w, tag, &byte, 1); }

static void put_text(writer *w, unsigned tag, const char *text) { put(w, tag, text, strlen(text)); }

/* Puts everything in `inner` as one record, and frees it. */
static void put_nested(writer *w, unsigned tag, writer *inner) {
    put(w, tag, inner->data, inner->len);
    w->failed |= inner->failed;
    free(inner->data);
}

/* Takes the next record off `rest`; 0 at the end or where it is cut short. */
static int next(deployx_slice *rest, unsigned *tag, deployx_slice *content) {
    if (rest->len < 6)
        return 0;
    const uint8_t *p = rest->data;
    size_t len = (size_t)p[2] | (size_t)p[3] << 8 | (size_t)p[4] << 16 | (size_t)p[5] << 24;
    if (len > rest->len - 6)
        return 0;
    *tag = p[0] | (unsigned)p[1] << 8;
    content->data = p + 6;
    content->len = len;
    rest->data += 6 + len;
    rest->len -= 6 + len;
    return 1;
}

/* ---- The rule set ---- */

/* Whether a component of `path` is `.` or `..`, or `path` has a NUL: too clever for this example. */
static int is_tricky(deployx_slice path) {
    size_t start = 0;
    for (size_t at = 0; at <= path.len; at++) {
        if (at < path.len && path.data[at] == 0)
            return 1;
        if (at == path.len || path.data[at] == '/') {
            size_t len = at - start;
            const uint8_t *name = path.data + start;
            if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
                return 1;
            start = at + 1;
        }
    }
    return 0;
}

static void put_path(writer *answer, const uint8_t *path, size_t len, uint8_t depth) {
    writer inner = {0};
    put(&inner, DEPLOYX_PATH_PATH, path, len);
    put_byte(&inner, DEPLOYX_PATH_DEPTH, depth);
    put_byte(&inner, DEPLOYX_PATH_CERTAINTY, DEPLOYX_CERTAINTY_CERTAIN);
    put_text(&inner, DEPLOYX_PATH_REASON, "removed");
    put_text(&inner, DEPLOYX_PATH_RULE, "drop");
    put_nested(answer, DEPLOYX_INFERENCE_PATH, &inner);
}

static void put_unclear(writer *answer, deployx_slice command) {
    writer inner = {0};
    put(&inner, DEPLOYX_UNCLEAR_TEXT, command.data, command.len);
    put_text(&inner, DEPLOYX_UNCLEAR_REASON, "unknown program");
    put_nested(answer, DEPLOYX_INFERENCE_UNCLEAR, &inner);
}

/* Answers for `drop PATH`; 0 where the line is something else. */
static int drop(writer *answer, deployx_slice command, deployx_slice cwd, const deployx_view *view) {
    static const char verb[] = "drop ";
    size_t verb_len = sizeof verb - 1;
    if (command.len <= verb_len || memcmp(command.data, verb, verb_len) != 0)
        return 0;
    deployx_slice operand = {command.data + verb_len, command.len - verb_len};
    if (memchr(operand.data, ' ', operand.len) != NULL || is_tricky(operand))
        return 0;
    writer path = {0};
    if (operand.data[0] != '/') {
        append(&path, cwd.data, cwd.len);
        append(&path, "/", cwd.len > 1 ? 1 : 0);
    }
    append(&path, operand.data, operand.len);
    if (!path.failed) {
        deployx_slice whole = {path.data, path.len};
        /* What is missing or unknown may be anything by the time the command runs. */
        uint32_t kind = view->kind(view->context, whole);
        int alone = kind == DEPLOYX_KIND_FILE || kind == DEPLOYX_KIND_LINK || kind == DEPLOYX_KIND_OTHER;
        put_path(answer, path.data, path.len, alone ? DEPLOYX_DEPTH_ENTRY : DEPLOYX_DEPTH_TREE);
    }
    answer->failed |= path.failed;
    free(path.data);
    put_byte(answer, DEPLOYX_INFERENCE_DESTRUCTIVE, 1);
    return 1;
}

static uint32_t toy_infer(void *instance, deployx_slice request, const deployx_view *view,
                          deployx_buffer *answer) {
    (void)instance;
    deployx_slice command = {NULL, 0}, cwd = {NULL, 0}, content;
    unsigned tag;
    while (next(&request, &tag, &content)) {
        if (tag == DEPLOYX_REQUEST_COMMAND)
            command = content;
        else if (tag == DEPLOYX_REQUEST_CWD)
            cwd = content;
    }
    writer out = {0};
    if (view->size < sizeof(deployx_view) || !drop(&out, command, cwd, view))
        put_unclear(&out, command);
    if (out.failed) {
        free(out.data);
        return DEPLOYX_STATUS_PANICKED; /* no memory; the answer stays empty */
    }
    answer->data = out.data;
    answer->len = out.len;
    return DEPLOYX_STATUS_OK;
}

/* Nothing is kept between calls, so any pointer will do as an instance. */
static uint32_t toy_create(void **instance, deployx_buffer *message) {
    (void)message;
    *instance = NULL;
    return DEPLOYX_STATUS_OK;
}

static void toy_free(deployx_buffer buffer) { free(buffer.data); }

static void toy_destroy(void *instance) { (void)instance; }

#define TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

static const deployx_slice shells[] = {TEXT("toy")};

static const deployx_description description = {
    .magic = {'D', 'E', 'P', 'L', 'O', 'Y', 'X', 'P'},
    .size = sizeof(deployx_description),
    .abi_min = DEPLOYX_ABI_OLDEST,
    .abi_max = DEPLOYX_ABI_VERSION,
    .capabilities = 0, /* no tables of the user */
    .name = TEXT("toy-in-c"),
    .version = TEXT("1.0"),
    .shells = shells,
    .shell_count = 1,
    .create = toy_create,
    .infer = toy_infer,
    .add_rules = NULL,
    .free = toy_free,
    .destroy = toy_destroy,
};

const deployx_description *deployx_plugin(uint32_t host_min, uint32_t host_max) {
    if (host_min > DEPLOYX_ABI_VERSION || host_max < DEPLOYX_ABI_OLDEST)
        return NULL;
    return &description;
}
