/* The interface between DeployX and rule plugins, version 1. See src/docs/plugin_abi.md. */
#ifndef DEPLOYX_PLUGIN_H
#define DEPLOYX_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define DEPLOYX_ABI_VERSION 1u
#define DEPLOYX_ABI_OLDEST 1u
#define DEPLOYX_MAGIC "DEPLOYXP" /* 8 bytes, without the NUL */

#define DEPLOYX_CAPABILITY_TABLES UINT64_C(1)

/* What a call returns. */
#define DEPLOYX_STATUS_OK 0u
#define DEPLOYX_STATUS_REFUSED 1u
#define DEPLOYX_STATUS_UNREADABLE 2u
#define DEPLOYX_STATUS_PANICKED 3u
#define DEPLOYX_STATUS_UNKNOWN 4u

/* What is at a path. */
#define DEPLOYX_KIND_UNKNOWN 0u
#define DEPLOYX_KIND_MISSING 1u
#define DEPLOYX_KIND_FILE 2u
#define DEPLOYX_KIND_DIRECTORY 3u
#define DEPLOYX_KIND_LINK 4u
#define DEPLOYX_KIND_OTHER 5u

/* Tags of records, by the value in which they stand. */
#define DEPLOYX_REQUEST_SHELL 1u
#define DEPLOYX_REQUEST_COMMAND 2u
#define DEPLOYX_REQUEST_CWD 3u
#define DEPLOYX_REQUEST_HOME 4u
#define DEPLOYX_REQUEST_VARIABLE 5u
#define DEPLOYX_REQUEST_SESSION 6u

#define DEPLOYX_VARIABLE_NAME 1u
#define DEPLOYX_VARIABLE_VALUE 2u

#define DEPLOYX_SESSION_ASSIGNED 1u
#define DEPLOYX_SESSION_REDEFINED 2u
#define DEPLOYX_SESSION_OPTIONS_CHANGED 3u
#define DEPLOYX_SESSION_UNKNOWN 4u

#define DEPLOYX_INFERENCE_PATH 1u
#define DEPLOYX_INFERENCE_CWD_AFTER 2u
#define DEPLOYX_INFERENCE_UNCLEAR 3u
#define DEPLOYX_INFERENCE_EFFECT 4u
#define DEPLOYX_INFERENCE_DESTRUCTIVE 5u
#define DEPLOYX_INFERENCE_SESSION 6u

#define DEPLOYX_PATH_PATH 1u
#define DEPLOYX_PATH_DEPTH 2u
#define DEPLOYX_PATH_CERTAINTY 3u
#define DEPLOYX_PATH_FOLLOW 4u
#define DEPLOYX_PATH_REASON 5u
#define DEPLOYX_PATH_RULE 6u

#define DEPLOYX_UNCLEAR_TEXT 1u
#define DEPLOYX_UNCLEAR_CWD 2u
#define DEPLOYX_UNCLEAR_REASON 3u

#define DEPLOYX_EFFECT_WHAT 1u
#define DEPLOYX_EFFECT_REASON 2u

#define DEPLOYX_RULE_SOURCE 1u
#define DEPLOYX_RULE_LINE 2u
#define DEPLOYX_RULE_COLUMN 3u
#define DEPLOYX_RULE_MESSAGE 4u

#define DEPLOYX_DEPTH_ENTRY 0u
#define DEPLOYX_DEPTH_CHILDREN 1u
#define DEPLOYX_DEPTH_TREE 2u

#define DEPLOYX_CERTAINTY_POSSIBLE 0u
#define DEPLOYX_CERTAINTY_LIKELY 1u
#define DEPLOYX_CERTAINTY_CERTAIN 2u

/* Bytes of the caller, valid for one call. */
typedef struct {
    const uint8_t *data;
    size_t len;
} deployx_slice;

/* Bytes of the plugin, given back through `free`. */
typedef struct {
    uint8_t *data;
    size_t len;
} deployx_buffer;

typedef uint32_t (*deployx_name_sink)(void *sink, deployx_slice name, uint32_t kind);
typedef void (*deployx_byte_sink)(void *sink, deployx_slice bytes);

typedef struct {
    size_t size;
    const void *context;
    uint32_t (*kind)(const void *context, deployx_slice path);
    uint32_t (*list)(const void *context, deployx_slice dir, deployx_name_sink sink, void *sink_context);
    uint32_t (*read_link)(const void *context, deployx_slice path, deployx_byte_sink sink, void *sink_context);
    uint32_t (*read)(const void *context, deployx_slice path, size_t max, deployx_byte_sink sink,
                     void *sink_context);
} deployx_view;

typedef struct {
    uint8_t magic[8];
    size_t size;
    uint32_t abi_min;
    uint32_t abi_max;
    uint64_t capabilities;
    deployx_slice name;
    deployx_slice version;
    const deployx_slice *shells;
    size_t shell_count;
    uint32_t (*create)(void **instance, deployx_buffer *message);
    uint32_t (*infer)(void *instance, deployx_slice request, const deployx_view *view,
                      deployx_buffer *answer);
    uint32_t (*add_rules)(void *instance, deployx_slice source, deployx_slice toml,
                          deployx_buffer *answer);
    void (*free)(deployx_buffer buffer);
    void (*destroy)(void *instance);
} deployx_description;

/* The one exported function of a plugin. */
const deployx_description *deployx_plugin(uint32_t host_min, uint32_t host_max);

#endif
