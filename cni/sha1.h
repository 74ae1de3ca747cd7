/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 (RFC 3174), for names that others chose to make with it; the plugin links no library of ciphers. */
#ifndef CNI_SHA1_H
#define CNI_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE 20 /* bytes of a digest */

/** sha1() - the digest of @size bytes. */
void sha1(const void *data, size_t size, uint8_t ret[static SHA1_SIZE]);

#endif
