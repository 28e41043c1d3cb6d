export async function webhookPage() {}
