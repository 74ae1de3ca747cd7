/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive circular lists: a head and links are the same struct; a link that is in no list points to itself. */
#ifndef IPAMD_LIST_H
#define IPAMD_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

/** list_entry() - the struct of @type whose @member this link is. */
#define list_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
/** list_entry_const() - the same, read only. */
#define list_entry_const(link, type, member) ((const type *)(const void *)((const char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
	list->prev = list->next = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

/** list_add_after() - @link, which is in no list, behind @where; behind the head is the front. */
static inline void list_add_after(struct list *where, struct list *link)
{
	link->prev = where;
	link->next = where->next;
	where->next->prev = link;
	where->next = link;
}

/** list_remove() - out of whatever list it is in; none is fine. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

#endif
