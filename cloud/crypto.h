/* SPDX-License-Identifier: Apache-2.0 */
/* The only door to OpenSSL: hashing for signatures, and memory that must not outlive its use. Context of all: any
 * thread. */
#ifndef BERTH_CLOUD_CRYPTO_H
#define BERTH_CLOUD_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/attr.h"

struct strbuf;

#define CRYPTO_SHA256_SIZE 32                           /* bytes, FIPS 180-4 */
#define CRYPTO_SHA256_HEX  (2 * CRYPTO_SHA256_SIZE + 1) /* its lower-case hex with terminator */

/** crypto_sha256() - of @size bytes. Return: 0 or -EIO (the library refused). */
_must_check_ int crypto_sha256(const void *bytes, size_t size, uint8_t ret[static CRYPTO_SHA256_SIZE]);
/** crypto_sha256_hex() - the same as lower-case hex. Return: 0 or -EIO. */
_must_check_ int crypto_sha256_hex(const void *bytes, size_t size, char ret[static CRYPTO_SHA256_HEX]);
/** crypto_hmac_sha256() - of @size bytes under a key of @key_size; @ret may be @key. Return: 0, -EINVAL or -EIO. */
_must_check_ int crypto_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
				    uint8_t ret[static CRYPTO_SHA256_SIZE]);

/** crypto_wipe() - overwrite; not removed by the optimiser. @bytes may be NULL. */
void crypto_wipe(void *bytes, size_t size);

/**
 * struct secret - text that is wiped before its memory is given back
 *
 * Zero is "no secret". Never printed, never part of an error.
 */
struct secret {
	char *text;  /* owned, terminated; NULL = none */
	size_t size; /* bytes without the terminator */
};

/** secret_set() - replace by a copy of @size bytes; the old text is wiped. Return: 0 or -ENOMEM (old text stays). */
_must_check_ int secret_set(struct secret *secret, const char *text, size_t size);
/** secret_done() - wipe and free; afterwards it is "no secret" again. */
void secret_done(struct secret *secret);

#define SECRET_RUN 8 /* bytes of a secret that say too much: of 40 characters of an AWS key, 48 bits */

/** secret_shows() - does @text repeat SECRET_RUN bytes of it in a row, or all of a shorter one? For messages of others:
 *  some services answer a bad request by quoting it. */
bool secret_shows(const struct secret *secret, const char *text);

/** wiped_free() - wipe a terminated heap text (a reply that held a secret) and free it. @text may be NULL. */
void wiped_free(char *text);
static inline void cleanup_wiped(char **text)
{
	wiped_free(*text);
}

/** wiped_strbuf_done() - wipe all memory of a buffer that held a secret, and release it. */
void wiped_strbuf_done(struct strbuf *buf);

#define _cleanup_wiped_strbuf_ _cleanup_(wiped_strbuf_done)
#define _cleanup_secret_       _cleanup_(secret_done)
#define _cleanup_wiped_        _cleanup_(cleanup_wiped)

#endif
