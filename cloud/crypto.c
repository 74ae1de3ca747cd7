/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "berth/str.h"

int crypto_sha256(const void *bytes, size_t size, uint8_t ret[static CRYPTO_SHA256_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_Digest(bytes, size, digest, &len, EVP_sha256(), NULL) != 1 || len != CRYPTO_SHA256_SIZE)
		return -EIO;
	memcpy(ret, digest, CRYPTO_SHA256_SIZE);
	return 0;
}

int crypto_sha256_hex(const void *bytes, size_t size, char ret[static CRYPTO_SHA256_HEX])
{
	uint8_t digest[CRYPTO_SHA256_SIZE];
	int r = crypto_sha256(bytes, size, digest);

	if (r < 0)
		return r;
	str_hex(ret, digest, sizeof(digest));
	return 0;
}

int crypto_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
		       uint8_t ret[static CRYPTO_SHA256_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (key_size > INT_MAX)
		return -EINVAL;
	if (!HMAC(EVP_sha256(), key, (int)key_size, bytes, size, digest, &len) || len != CRYPTO_SHA256_SIZE)
		return -EIO;
	memcpy(ret, digest, CRYPTO_SHA256_SIZE);
	OPENSSL_cleanse(digest, sizeof(digest));
	return 0;
}

void crypto_wipe(void *bytes, size_t size)
{
	if (bytes)
		OPENSSL_cleanse(bytes, size);
}

int secret_set(struct secret *secret, const char *text, size_t size)
{
	char *copy = malloc(size + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, size);
	copy[size] = '\0';
	secret_done(secret);
	secret->text = copy;
	secret->size = size;
	return 0;
}

void secret_done(struct secret *secret)
{
	crypto_wipe(secret->text, secret->size);
	free(secret->text);
	secret->text = NULL;
	secret->size = 0;
}

void wiped_free(char *text)
{
	if (text)
		crypto_wipe(text, strlen(text));
	free(text);
}

bool secret_shows(const struct secret *secret, const char *text)
{
	size_t run = secret->size < SECRET_RUN ? secret->size : SECRET_RUN;
	size_t len = strlen(text);

	for (size_t i = 0; run > 0 && i + run <= len; i++) {
		if (memmem(secret->text, secret->size, text + i, run))
			return true;
	}
	return false;
}

void wiped_strbuf_done(struct strbuf *buf)
{
	crypto_wipe(buf->text, buf->alloc);
	strbuf_done(buf);
}
