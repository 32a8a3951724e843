// Hono and Vercel's AI SDK, as their documentation streams.
import { createGoogleGenerativeAI } from '@ai-sdk/google'
import { serve } from '@hono/node-server'
import { streamText } from 'ai'
import { Hono } from 'hono'

const google = createGoogleGenerativeAI({
  apiKey: 'bench',
  baseURL: `${process.env.BENCH_UPSTREAM}/v1beta`,
})
const app = new Hono()

app.post('/stream', async (c) => {
  const { prompt } = await c.req.json()
  return streamText({ model: google('gemini-3.8-flash'), prompt }).toUIMessageStreamResponse()
})

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env.BENCH_PORT) })
