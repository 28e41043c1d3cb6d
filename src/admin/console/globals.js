export async function globalsPage() {}
