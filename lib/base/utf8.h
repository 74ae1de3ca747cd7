/* SPDX-License-Identifier: Apache-2.0 */
/* Private to lib/base: cutting text without leaving half a character, which jansson and journald would refuse. */
#ifndef BERTH_BASE_UTF8_H
#define BERTH_BASE_UTF8_H

#include <stddef.h>

/**
 * utf8_cut() - the longest length up to @len that does not end inside a character
 * @text: the first @len bytes are read; bytes that are no UTF-8 are left alone
 * Return: @len or up to three less.
 */
static inline size_t utf8_cut(const char *text, size_t len)
{
	for (size_t back = 1; back <= 4 && back <= len; back++) {
		unsigned char c = (unsigned char)text[len - back];

		if (c < 0x80)
			return len;
		if (c < 0xc0)
			continue;
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		return back < need ? len - back : len;
	}
	return len;
}

#endif
