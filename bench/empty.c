/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends: what a process costs that is linked as the plugin is and does nothing. */
int main(void)
{
	return 0;
}
